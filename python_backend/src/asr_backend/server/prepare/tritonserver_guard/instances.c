/* The stubs of the Python backend: which of them lives, and how the backend waits for one.

   The Python backend of 24.10 takes a stub for dead that has not set a flag within a second. A stub may
   stand still for that long (a debugger, a frozen disk, swapping). Its calls are then answered, the
   messages that it reads are freed, and when it goes on, it uses them, and tritonserver ends. Here the
   kernel is asked whether the stub lives, and the backend's waits with a limit do not end before it is
   dead.

   The backend's waits without a limit never end when the stub is dead: here they do. A lock that a
   stub held when it died is taken over; the backend itself ends tritonserver with an exception. */
#include "guard.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define TICK_NS 250000000
/* So long must an instance's pool be without work to be taken for done. */
#define QUIET_TICKS 4
/* In __data.__kind of a mutex: those that the backend shares with a stub have it, and no others. */
#define KIND_ROBUST 16

/* Read by a test: whether the library is that of the sources beside it. */
EXPORT const char asr_tritonserver_guard_sources[] = SOURCES_HASH;

pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
Instance *instances;
__thread Instance *current;
/* What this thread is to `current`: one that Triton calls the backend in, or one of the backend's
   own, which takes messages or is of the pool that works on them. */
static __thread enum { CALLER, TAKER, POOL } role;
static uintptr_t backend_begin, backend_end; /* of libtriton_python.so in memory */

void *find_real(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

/* Triton's children are Triton's: the guard is for this process alone. It stands first in
   LD_PRELOAD; what a person has put behind it stays. */
__attribute__((constructor)) static void leave_environment(void) {
    const char *preload = getenv("LD_PRELOAD");
    if (!preload || !strstr(preload, "libasr_tritonserver_guard.so")) return;
    const char *rest = strchr(preload, ':');
    if (rest) setenv("LD_PRELOAD", rest + 1, 1);
    else unsetenv("LD_PRELOAD");
}

static bool is_backend(const void *caller) {
    return (uintptr_t)caller - backend_begin < backend_end - backend_begin;
}

static int find_backend(struct dl_phdr_info *info, size_t size, void *caller) {
    (void)size;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t begin = info->dlpi_addr + part->p_vaddr;
        if (part->p_type != PT_LOAD || (uintptr_t)caller - begin >= part->p_memsz) continue;
        backend_begin = begin;
        backend_end = begin + part->p_memsz;
        return 1;
    }
    return 0;
}

/* Whether the instance's stub runs; it is not reaped here. */
bool is_alive(Instance *instance) {
    pid_t pid = instance->pid;
    if (!pid || instance->dead) return !instance->dead;
    siginfo_t ended = {0};
    bool has_ended = waitid(P_PID, pid, &ended, WEXITED | WNOHANG | WNOWAIT) || ended.si_pid == pid;
    if (has_ended) instance->dead = true;
    return !has_ended;
}

static void *watch(void *unused) {
    (void)unused;
    for (;;) {
        nanosleep(&(struct timespec){0, TICK_NS}, NULL);
        pthread_mutex_lock(&table);
        Instance *first = instances;
        pthread_mutex_unlock(&table);
        for (Instance *one = first; one; one = one->next)
            if (!is_alive(one)) end_calls(one);
    }
    return NULL;
}

static void start_watch(void) {
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (!pthread_create(&thread, NULL, watch, NULL)) pthread_detach(thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* A new instance: the backend calls this before it starts the instance's stub and threads. */
EXPORT Error *TRITONBACKEND_ModelInstanceSetState(void *triton, void *state) {
    REAL(Error *, TRITONBACKEND_ModelInstanceSetState, void *, void *);
    REAL(Error *, TRITONBACKEND_ModelInstanceName, void *, const char **);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static uint64_t ids;
    Instance *instance = calloc(1, sizeof *instance);
    const char *name = "";
    if (instance && !real_TRITONBACKEND_ModelInstanceName(triton, &name)) {
        snprintf(instance->name, sizeof instance->name, "%s", name);
        instance->triton = triton;
        pthread_mutex_lock(&table);
        dl_iterate_phdr(find_backend, __builtin_return_address(0));
        for (Instance *one = instances; one; one = one->next)
            if (one->triton == triton) one->triton = NULL;
        instance->id = ++ids;
        instance->next = instances;
        instances = instance;
        pthread_mutex_unlock(&table);
        pthread_once(&once, start_watch);
        current = instance;
    }
    return real_TRITONBACKEND_ModelInstanceSetState(triton, state);
}

/* The backend calls this first of all whenever Triton calls it for an instance. */
EXPORT Error *TRITONBACKEND_ModelInstanceState(void *triton, void **state) {
    REAL(Error *, TRITONBACKEND_ModelInstanceState, void *, void **);
    pthread_mutex_lock(&table);
    Instance *one = instances;
    while (one && one->triton != triton) one = one->next;
    pthread_mutex_unlock(&table);
    current = one;
    return real_TRITONBACKEND_ModelInstanceState(triton, state);
}

EXPORT pid_t fork(void) {
    REAL(pid_t, fork, void);
    pid_t pid = real_fork();
    if (pid > 0 && current && is_backend(__builtin_return_address(0))) current->pid = pid;
    return pid;
}

/* The backend kills a stub that is dead or stands still when it unloads the model, and then frees the
   memory that it shared with the stub, though threads of its pool may still work in it. */
EXPORT int kill(pid_t pid, int signal) {
    REAL(int, kill, pid_t, int);
    int failed = real_kill(pid, signal);
    if (!current || pid != current->pid || !is_backend(__builtin_return_address(0))) return failed;
    for (int quiet = 0; quiet < QUIET_TICKS;) {
        unsigned begun = current->begun;
        nanosleep(&(struct timespec){0, TICK_NS}, NULL);
        quiet = current->working || begun != current->begun ? 0 : quiet + 1;
    }
    return failed;
}

typedef struct Start {
    void *(*routine)(void *);
    void *argument;
    Instance *instance;
    int role;
} Start;

static void *run(void *argument) {
    Start start = *(Start *)argument;
    free(argument);
    current = start.instance;
    role = start.role;
    void *result = start.routine(start.argument);
    if (role == POOL) current->working--;
    return result;
}

/* An instance's own threads know it: its pool, and before that the one that takes the messages. */
EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*routine)(void *), void *argument) {
    REAL(int, pthread_create, pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    bool is_pool = current && is_backend(__builtin_return_address(0));
    Start *start = is_pool || (current && !current->pid) ? malloc(sizeof *start) : NULL;
    if (!start) return real_pthread_create(thread, attributes, routine, argument);
    *start = (Start){routine, argument, current, is_pool ? POOL : TAKER};
    if (is_pool) current->working++;
    int error = real_pthread_create(thread, attributes, run, start);
    if (error) {
        if (is_pool) current->working--;
        free(start);
    }
    return error;
}

static struct timespec after_a_tick(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    time.tv_nsec += TICK_NS;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

/* Takes over a lock whose owner died. */
static int taken_over(pthread_mutex_t *mutex, int error, const void *caller) {
    return error == EOWNERDEAD && is_backend(caller) ? pthread_mutex_consistent(mutex) : error;
}

EXPORT int pthread_mutex_lock(pthread_mutex_t *mutex) {
    REAL(int, pthread_mutex_lock, pthread_mutex_t *);
    return taken_over(mutex, real_pthread_mutex_lock(mutex), __builtin_return_address(0));
}

EXPORT int pthread_mutex_timedlock(pthread_mutex_t *mutex, const struct timespec *limit) {
    REAL(int, pthread_mutex_timedlock, pthread_mutex_t *, const struct timespec *);
    const void *caller = __builtin_return_address(0);
    int error = real_pthread_mutex_timedlock(mutex, limit);
    while (error == ETIMEDOUT && current && is_backend(caller) && is_alive(current)) {
        struct timespec later = after_a_tick(CLOCK_REALTIME);
        error = real_pthread_mutex_timedlock(mutex, &later);
    }
    return taken_over(mutex, error, caller);
}

EXPORT int sem_timedwait(sem_t *semaphore, const struct timespec *limit) {
    REAL(int, sem_timedwait, sem_t *, const struct timespec *);
    const void *caller = __builtin_return_address(0);
    int failed = real_sem_timedwait(semaphore, limit);
    int error = errno;
    while (failed && error == ETIMEDOUT && current && is_backend(caller) && is_alive(current)) {
        struct timespec later = after_a_tick(CLOCK_REALTIME);
        failed = real_sem_timedwait(semaphore, &later);
        error = errno;
    }
    if (failed) errno = error;
    return failed;
}

/* For a message of the stub while it starts or ends, whose content nobody reads, or for room in a
   queue that nobody empties any more. The takers go on waiting: they are told when to end. */
EXPORT int sem_wait(sem_t *semaphore) {
    REAL(int, sem_wait, sem_t *);
    REAL(int, sem_timedwait, sem_t *, const struct timespec *);
    if (!current || role != CALLER || !is_backend(__builtin_return_address(0)))
        return real_sem_wait(semaphore);
    for (;;) {
        struct timespec later = after_a_tick(CLOCK_REALTIME);
        if (!real_sem_timedwait(semaphore, &later)) return 0;
        if (errno != ETIMEDOUT) return -1;
        if (!is_alive(current)) return 0;
    }
}

EXPORT int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex) {
    static int (*real_wait)(pthread_cond_t *, pthread_mutex_t *);
    /* The version before it, of other conditions, has the same name. */
    if (!real_wait) *(void **)&real_wait = dlvsym(RTLD_NEXT, "pthread_cond_wait", "GLIBC_2.3.2");
    REAL(int, pthread_cond_clockwait, pthread_cond_t *, pthread_mutex_t *, clockid_t,
         const struct timespec *);
    const void *caller = __builtin_return_address(0);
    if (!current || !is_backend(caller)) return real_wait(condition, mutex);
    if (!(mutex->__data.__kind & KIND_ROBUST)) { /* a thread of the pool that waits for work */
        if (role == POOL) current->working--;
        int error = real_wait(condition, mutex);
        if (role == POOL) current->begun++, current->working++;
        return error;
    }
    for (;;) { /* for the stub */
        struct timespec later = after_a_tick(CLOCK_MONOTONIC);
        int error = real_pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &later);
        if (error != ETIMEDOUT) return taken_over(mutex, error, caller);
        if (is_alive(current)) continue;
        /* A message that has its mutex and condition in it has a flag behind them: true until the
           stub has taken note. The others wait for the condition alone. */
        if ((char *)condition == (char *)mutex + sizeof *mutex)
            *(volatile char *)(condition + 1) = false;
        return 0;
    }
}
