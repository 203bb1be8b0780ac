/* Each call of a Python model gets exactly one final answer.

   The Python backend of 24.10 keeps a response factory for each call and hands its address to the
   stub. Four things go wrong with that:
   - A stub that dies leaves its calls unanswered, and their factories keep the model loaded for ever.
   - A call that the backend answered itself, because `execute` failed, is answered again by the stub.
   - A factory that is gone is asked whether its call was cancelled.
   - A factory is deleted though nobody answered the call.
   The second and the third use freed memory, which ends tritonserver.

   So the backend gets a handle, never used twice, in place of the factory's address. Each use comes
   through here. The use of a handle whose call has its final answer does nothing, and the calls of a
   dead stub are answered with Triton's own error for it. */
#include "guard.h"

#include <stdio.h>
#include <stdlib.h>

/* No address that a program can have: a use that did not come through here would fail at once. */
#define HANDLE_MARK (UINT64_C(1) << 62)
#define ID_SHIFT 40

/* The response that an ended call gets: what is done with it does nothing. */
static char nobody[1];
/* The response and the call that this thread is about to answer: the backend makes a response from a
   factory and sends it in one thread, one after the other. */
static __thread void *open_response;
static __thread uint64_t open_handle;

static Error *error_of(int code, const char *message) {
    REAL(Error *, TRITONSERVER_ErrorNew, int, const char *);
    return real_TRITONSERVER_ErrorNew(code, message);
}

/* The next three are called with the table locked. */

static Instance *owner_of(uint64_t handle) {
    Instance *one = instances;
    while (one && one->id != (handle & ~HANDLE_MARK) >> ID_SHIFT) one = one->next;
    return one;
}

static Call *find_call(uint64_t handle) {
    Instance *owner = owner_of(handle);
    Call *call = owner ? owner->calls : NULL;
    while (call && call->handle != handle) call = call->next;
    return call;
}

static Call *find_request(void *request) {
    Call *call = current ? current->calls : NULL;
    while (call && call->request != request) call = call->next;
    return call;
}

static void delete_factory(void *factory) {
    REAL(Error *, TRITONBACKEND_ResponseFactoryDelete, void *);
    real_TRITONBACKEND_ResponseFactoryDelete(factory);
}

/* Answers a call with an error. The caller has set `ended` and counts among `users`. */
static void answer_with_error(Call *call, const char *message) {
    REAL(Error *, TRITONBACKEND_ResponseNewFromFactory, void **, void *);
    REAL(Error *, TRITONBACKEND_ResponseSend, void *, uint32_t, Error *);
    REAL(void, TRITONSERVER_ErrorDelete, Error *);
    void *response = NULL;
    Error *failure = real_TRITONBACKEND_ResponseNewFromFactory(&response, call->factory);
    if (!failure) {
        Error *error = error_of(ERROR_INTERNAL, message);
        failure = real_TRITONBACKEND_ResponseSend(response, COMPLETE_FINAL, error);
        real_TRITONSERVER_ErrorDelete(error);
    }
    if (failure) real_TRITONSERVER_ErrorDelete(failure);
}

/* Forgets a call that is over, or answers one that nobody can answer any more; unlocks the table. */
static void settle_and_unlock(Instance *owner, Call *call) {
    bool is_over = !call->users && !call->request && (call->ended || call->dropped);
    if (is_over && !call->ended) {
        call->ended = true;
        call->users++;
        pthread_mutex_unlock(&table);
        answer_with_error(call, "the model dropped the call without an answer");
        pthread_mutex_lock(&table);
        call->users--;
    }
    if (!is_over || call->users) { /* another user that came meanwhile will settle it */
        pthread_mutex_unlock(&table);
        return;
    }
    Call **link = &owner->calls;
    while (*link != call) link = &(*link)->next;
    *link = call->next;
    pthread_mutex_unlock(&table);
    delete_factory(call->factory);
    free(call);
}

/* Answers all calls of a dead stub that are left to it: `execute` has ended, no answer was begun. */
void end_calls(Instance *instance) {
    char message[128];
    snprintf(message, sizeof message, "Stub process '%s' is not healthy.", instance->name);
    for (;;) {
        pthread_mutex_lock(&table);
        Call *call = instance->calls;
        while (call && (call->request || call->ended || call->users)) call = call->next;
        if (!call) break;
        call->ended = true;
        call->users++;
        pthread_mutex_unlock(&table);
        answer_with_error(call, message);
        pthread_mutex_lock(&table);
        call->users--;
        settle_and_unlock(instance, call);
    }
    pthread_mutex_unlock(&table);
}

EXPORT Error *TRITONBACKEND_ResponseFactoryNew(void **factory, void *request) {
    REAL(Error *, TRITONBACKEND_ResponseFactoryNew, void **, void *);
    Error *error = real_TRITONBACKEND_ResponseFactoryNew(factory, request);
    Call *call = !error && current ? calloc(1, sizeof *call) : NULL;
    if (!call) return error;
    call->factory = *factory;
    call->request = request;
    pthread_mutex_lock(&table);
    call->handle = HANDLE_MARK | current->id << ID_SHIFT | current->handles++;
    call->next = current->calls;
    current->calls = call;
    *factory = (void *)call->handle;
    pthread_mutex_unlock(&table);
    return NULL;
}

EXPORT Error *TRITONBACKEND_ResponseFactoryDelete(void *factory) {
    uint64_t handle = (uint64_t)factory;
    if (!(handle & HANDLE_MARK)) {
        delete_factory(factory);
        return NULL;
    }
    pthread_mutex_lock(&table);
    Call *call = find_call(handle);
    if (call) {
        /* Until the request is released, `execute` may still answer it. */
        call->dropped = true;
        settle_and_unlock(owner_of(handle), call);
    } else {
        pthread_mutex_unlock(&table);
    }
    return NULL;
}

EXPORT Error *TRITONBACKEND_ResponseFactoryIsCancelled(void *factory, bool *is_cancelled) {
    REAL(Error *, TRITONBACKEND_ResponseFactoryIsCancelled, void *, bool *);
    uint64_t handle = (uint64_t)factory;
    if (!(handle & HANDLE_MARK))
        return real_TRITONBACKEND_ResponseFactoryIsCancelled(factory, is_cancelled);
    pthread_mutex_lock(&table);
    Call *call = find_call(handle);
    Error *error = NULL;
    *is_cancelled = true; /* nobody waits for an ended call */
    if (call && !call->ended) /* it reads one flag: short enough for the lock */
        error = real_TRITONBACKEND_ResponseFactoryIsCancelled(call->factory, is_cancelled);
    pthread_mutex_unlock(&table);
    return error;
}

/* Begins an answer: counts among the users of the call, unless it has ended. */
static void *begin(uint64_t handle, bool is_final) {
    pthread_mutex_lock(&table);
    Call *call = find_call(handle);
    void *factory = call && !call->ended ? call->factory : NULL;
    if (factory) {
        call->users++;
        call->ended = is_final;
    }
    pthread_mutex_unlock(&table);
    return factory;
}

static void finish(uint64_t handle, bool is_final) {
    pthread_mutex_lock(&table);
    Call *call = find_call(handle);
    call->users--;
    call->ended |= is_final;
    settle_and_unlock(owner_of(handle), call);
}

EXPORT Error *TRITONBACKEND_ResponseFactorySendFlags(void *factory, uint32_t flags) {
    REAL(Error *, TRITONBACKEND_ResponseFactorySendFlags, void *, uint32_t);
    uint64_t handle = (uint64_t)factory;
    if (!(handle & HANDLE_MARK)) return real_TRITONBACKEND_ResponseFactorySendFlags(factory, flags);
    bool is_final = flags & COMPLETE_FINAL;
    void *real = begin(handle, is_final);
    if (!real) return NULL;
    Error *error = real_TRITONBACKEND_ResponseFactorySendFlags(real, flags);
    finish(handle, is_final);
    return error;
}

EXPORT Error *TRITONBACKEND_ResponseNewFromFactory(void **response, void *factory) {
    REAL(Error *, TRITONBACKEND_ResponseNewFromFactory, void **, void *);
    uint64_t handle = (uint64_t)factory;
    if (!(handle & HANDLE_MARK)) return real_TRITONBACKEND_ResponseNewFromFactory(response, factory);
    /* An error would not do: the backend uses the response nevertheless. */
    *response = nobody;
    void *real = begin(handle, false);
    if (!real) return NULL;
    Error *error = real_TRITONBACKEND_ResponseNewFromFactory(response, real);
    if (error) {
        finish(handle, false);
        *response = nobody;
        return error;
    }
    open_response = *response;
    open_handle = handle;
    return NULL;
}

/* The answer to a request from the thread of `execute`. */
EXPORT Error *TRITONBACKEND_ResponseNew(void **response, void *request) {
    REAL(Error *, TRITONBACKEND_ResponseNew, void **, void *);
    pthread_mutex_lock(&table);
    Call *call = find_request(request);
    bool is_taken = call && (call->ended || call->users);
    if (is_taken) call->dropped = true;
    else if (call) call->ended = true;
    pthread_mutex_unlock(&table);
    *response = nobody;
    return is_taken ? NULL : real_TRITONBACKEND_ResponseNew(response, request);
}

EXPORT Error *TRITONBACKEND_ResponseOutput(void *response, void **output, const char *name, int type,
                                           const int64_t *shape, uint32_t dims) {
    REAL(Error *, TRITONBACKEND_ResponseOutput, void *, void **, const char *, int, const int64_t *,
         uint32_t);
    if (response == nobody) return error_of(ERROR_CANCELLED, "the call has ended");
    return real_TRITONBACKEND_ResponseOutput(response, output, name, type, shape, dims);
}

EXPORT Error *TRITONBACKEND_ResponseSend(void *response, uint32_t flags, Error *error) {
    REAL(Error *, TRITONBACKEND_ResponseSend, void *, uint32_t, Error *);
    if (response == nobody) return NULL;
    bool is_open = response && response == open_response;
    if (is_open) open_response = NULL;
    Error *failure = real_TRITONBACKEND_ResponseSend(response, flags, error);
    if (is_open) finish(open_handle, flags & COMPLETE_FINAL);
    return failure;
}

EXPORT Error *TRITONBACKEND_ResponseDelete(void *response) {
    REAL(Error *, TRITONBACKEND_ResponseDelete, void *);
    return response == nobody ? NULL : real_TRITONBACKEND_ResponseDelete(response);
}

EXPORT Error *TRITONBACKEND_RequestRelease(void *request, uint32_t flags) {
    REAL(Error *, TRITONBACKEND_RequestRelease, void *, uint32_t);
    pthread_mutex_lock(&table);
    Call *call = find_request(request);
    if (call) call->users++;
    pthread_mutex_unlock(&table);
    Error *error = real_TRITONBACKEND_RequestRelease(request, flags);
    if (!call) return error;
    pthread_mutex_lock(&table);
    call->users--;
    if (!error) call->request = NULL;
    settle_and_unlock(current, call);
    return error;
}
