/* What the three parts of the library share. docs/triton.md, "The guard", says what the library is for. */
#ifndef ASR_TRITONSERVER_GUARD_H
#define ASR_TRITONSERVER_GUARD_H

#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define EXPORT __attribute__((visibility("default")))

/* Values of tritonserver.h; they are part of Triton's ABI. */
enum { ERROR_INTERNAL = 1, ERROR_CANCELLED = 7 };
enum { RELEASE_ALL = 1 };
enum { COMPLETE_FINAL = 1 };
enum { TYPE_BYTES = 13 };
typedef void Error; /* a TRITONSERVER_Error; NULL is success */

/* A pointer to the definition that this library's own stands before. */
#define REAL(type, name, ...)                                                                      \
    static type (*real_##name)(__VA_ARGS__);                                                       \
    if (__builtin_expect(!real_##name, 0)) real_##name = find_real(#name)

void *find_real(const char *name);

/* A call that a model has been given and has not answered. */
typedef struct Call {
    struct Call *next;
    uint64_t handle; /* what the Python backend holds in the factory's place */
    void *factory;   /* Triton's TRITONBACKEND_ResponseFactory; it keeps the model loaded */
    void *request;   /* NULL once the backend has released it: then only the factory is left */
    int users;       /* threads that use the factory outside of the table's lock */
    bool ended;      /* the final answer was sent, or is being sent */
    bool dropped;    /* the backend asked for the factory's end */
} Call;

/* One model instance of the Python backend, and its process, the stub. Records are never freed:
   threads point to them, and there is one for each load of an instance. */
typedef struct Instance {
    struct Instance *next;
    void *triton; /* the TRITONBACKEND_ModelInstance; NULL when a later one has its address */
    char name[64];
    _Atomic pid_t pid; /* of the stub; 0 before it was started */
    atomic_bool dead;
    atomic_int working; /* threads of its pool that do not wait for work */
    atomic_uint begun;  /* how often one of them began */
    uint64_t id;
    uint64_t handles;
    Call *calls;
} Instance;

/* Guards the list of instances and the calls of each. Nothing of Triton's that may call back is
   called with it. */
extern pthread_mutex_t table;
extern Instance *instances;
extern __thread Instance *current; /* the instance that this thread works for */

bool is_alive(Instance *instance);
void end_calls(Instance *instance);

#endif
