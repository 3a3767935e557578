/* libcudnn.so.9 that plans and executes nothing: every descriptor is accepted, one plan is found, it needs no work space. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int fake_call(const char *name);
enum { INT64 = 3, DESCRIPTOR = 15, NOTES = 11, BEHAVIOUR = 19 };
size_t cudnnGetVersion(void) { return 92000; }
const char *cudnnGetErrorString(int status) { return "CUDNN_STATUS_MADE_UP"; }
void cudnnGetLastErrorString(char *message, size_t size) { strncpy(message, "a failure made up by a test", size); }
int cudnnGetStream(void *handle, void **stream) { *stream = NULL; return 0; }
int cudnnBackendCreateDescriptor(int kind, void **made) { *made = calloc(1, 64); return fake_call("cudnnBackendCreateDescriptor"); }
int cudnnBackendDestroyDescriptor(void *descriptor) { free(descriptor); return 0; }
int cudnnBackendGetAttribute(void *descriptor, int name, int kind, int64_t wanted, int64_t *got, void **values) {
    if (got) *got = kind != NOTES && kind != BEHAVIOUR;
    if (!values || wanted <= 0) return 0;
    if (kind == DESCRIPTOR && !values[0]) values[0] = calloc(1, 64);
    if (kind == INT64) *(int64_t *)values = 0;
    if (kind == 2 || kind == 9 || kind == 23) *(int *)values = 0;
    return 0;
}
typedef struct { int algorithm, status; float time; size_t memory; int rest[6]; } Found;
int cudnnFindConvolutionForwardAlgorithmEx(void *handle, void *x, void *dx, void *w, void *dw, void *how, void *y, void *dy,
                                           int wanted, int *got, Found *found, void *work, size_t size) {
    memset(found, 0, sizeof *found);
    *got = 1;
    return fake_call("cudnnFindConvolutionForwardAlgorithmEx");
}
int cudnnGetConvolutionForwardAlgorithm_v7(void *handle, void *x, void *w, void *how, void *y, int wanted, int *got, Found *found) {
    memset(found, 0, sizeof *found);
    *got = 1;
    return 0;
}
int cudnnGetConvolutionForwardWorkspaceSize(void *handle, void *x, void *w, void *how, void *y, int algorithm, size_t *size) {
    *size = 0; return 0;
}
int cudnnGetReductionIndicesSize(void *handle, void *how, void *from, void *to, size_t *size) { *size = 0; return 0; }
int cudnnGetReductionWorkspaceSize(void *handle, void *how, void *from, void *to, size_t *size) { *size = 1024; return 0; }
