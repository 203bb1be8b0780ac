/* A classification of an output of strings is refused, not a division by zero.

   Triton's gRPC and HTTP endpoints turn an output that was asked for with the parameter
   `classification` into its largest values. They divide by the size of the data type first and find
   after it that strings have no classification. The size of a string is 0 there. Told 1, they come
   to their own refusal: INVALID_ARGUMENT "class result not available for output due to unsupported
   type 'BYTES'". The endpoints use the size of BYTES for nothing else (24.10: classification.cc,
   grpc/infer_handler.{h,cc}, http_server.cc); all other callers get what they got. */
#include "guard.h"

#include <dlfcn.h>
#include <sys/auxv.h>

static void *module_of(const void *address) {
    Dl_info info;
    return dladdr(address, &info) ? info.dli_fbase : NULL;
}

EXPORT uint32_t TRITONSERVER_DataTypeByteSize(int type) {
    REAL(uint32_t, TRITONSERVER_DataTypeByteSize, int);
    if (type == TYPE_BYTES) {
        void *program = module_of((void *)getauxval(AT_ENTRY));
        if (program && module_of(__builtin_return_address(0)) == program) return 1;
    }
    return real_TRITONSERVER_DataTypeByteSize(type);
}
