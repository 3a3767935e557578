/* libcudart.so.13 of a GPU without a GPU: its memory is the host's, counted and limited; copies are done and counted;
   kernels are launched into nothing and counted. Every call can be made to fail. FAKE_GPU_BYTES is the card's memory. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define OUT_OF_MEMORY 2
#define CALL(name) { int error = fake_call(name); if (error) return last = error; }

/* What was called, how often, and which call is to fail. */
static struct { const char *name; int count; } called[512];
static int names, fail_at, fail_times, fail_code, last;
static const char *fail_name = "";
int fake_call(const char *name) {
    int i = 0;
    while (i < names && strcmp(called[i].name, name)) i++;
    if (i == names) { called[names].name = name; called[names++].count = 0; }
    called[i].count++;
    int since = called[i].count - fail_at;
    return !strcmp(name, fail_name) && since >= 0 && since < fail_times ? fail_code : 0;
}
const char *fake_name(int i) { return i < names ? called[i].name : NULL; }
int fake_count(int i) { return called[i].count; }
void fake_forget(void) { for (int i = 0; i < names; i++) called[i].count = 0; }
void fake_fail(const char *name, int from, int times, int code) {
    fail_name = strdup(name); fail_at = from; fail_times = times; fail_code = code;
}
/* FAKE_FAIL=cudaMemcpy:719:20 lets every call of that name fail from the twentieth on. */
__attribute__((constructor)) static void fail_from_the_start(void) {
    char *given = getenv("FAKE_FAIL"), name[64];
    int code, from;
    if (given && sscanf(given, "%63[^:]:%d:%d", name, &code, &from) == 3) fake_fail(name, from, 1 << 30, code);
}

/* Memory. It lies in address space alone until something is written. */
static struct { void *at; size_t size; } blocks[1 << 16];
static int count;
static size_t used, peak;
static size_t room(void) { const char *given = getenv("FAKE_GPU_BYTES"); return given ? strtoull(given, 0, 10) : 80ull << 30; }
size_t fake_used(void) { return used; }
size_t fake_peak(void) { return peak; }
void fake_reset_peak(void) { peak = used; }
int cudaMalloc(void **at, size_t size) {
    CALL("cudaMalloc")
    *at = NULL;
    if (used + size > room() || count == 1 << 16) return last = OUT_OF_MEMORY;
    void *made = mmap(NULL, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made == MAP_FAILED) return last = OUT_OF_MEMORY;
    blocks[count].at = *at = made;
    blocks[count++].size = size;
    used += size;
    if (used > peak) peak = used;
    return 0;
}
int cudaFree(void *at) {
    for (int i = count - 1; i >= 0; i--)
        if (blocks[i].at == at) {
            munmap(at, blocks[i].size ? blocks[i].size : 1);
            used -= blocks[i].size;
            blocks[i] = blocks[--count];
            break;
        }
    return 0;
}
int cudaMemGetInfo(size_t *free, size_t *total) { CALL("cudaMemGetInfo") *total = room(); *free = room() - used; return 0; }
int cudaHostAlloc(void **at, size_t size, unsigned flags) { CALL("cudaHostAlloc") *at = malloc(size ? size : 1); return 0; }
int cudaMallocHost(void **at, size_t size) { CALL("cudaMallocHost") *at = malloc(size ? size : 1); return 0; }
int cudaFreeHost(void *at) { free(at); return 0; }
int cudaPointerGetAttributes(char *attributes, const void *at) {
    memset(attributes, 0, 88);
    for (int i = 0; i < count; i++)
        if ((char *)at >= (char *)blocks[i].at && (char *)at < (char *)blocks[i].at + blocks[i].size) {
            *(int *)attributes = 2;  /* cudaMemoryTypeDevice */
            *(const void **)(attributes + 8) = at;
        }
    return 0;
}

/* Copies: 1 to the device, 2 to the host, 3 within the device. */
static size_t copied[5];
size_t fake_copied(int kind) { return copied[kind]; }
void fake_reset_copied(void) { memset(copied, 0, sizeof copied); }
static void copy(void *to, const void *from, size_t size, int kind) { copied[kind] += size; memmove(to, from, size); }
int cudaMemcpy(void *to, const void *from, size_t size, int kind) { CALL("cudaMemcpy") copy(to, from, size, kind); return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, void *stream) {
    CALL("cudaMemcpyAsync") copy(to, from, size, kind); return 0;
}
int cudaMemset(void *at, int value, size_t size) { CALL("cudaMemset") memset(at, value, size); return 0; }
int cudaMemsetAsync(void *at, int value, size_t size, void *stream) { CALL("cudaMemsetAsync") memset(at, value, size); return 0; }

/* The card: an RTX 4090's limits at the places that CUDA 13 has them in cudaDeviceProp. */
int cudaGetDeviceProperties(char *card, int device) {
    CALL("cudaGetDeviceProperties")
    int *number = memset(card, 0, 1008);
    strcpy(card, "Card of host memory");
    *(size_t *)(card + 288) = room();
    *(size_t *)(card + 296) = 49152;
    *(size_t *)(card + 624) = 102400;
    *(size_t *)(card + 672) = 101376;
    number[304 / 4] = 65536; number[308 / 4] = 32; number[320 / 4] = 1024;
    number[324 / 4] = number[328 / 4] = 1024; number[332 / 4] = 64;
    number[336 / 4] = 2147483647; number[340 / 4] = number[344 / 4] = 65535;
    number[360 / 4] = 8; number[364 / 4] = 9; number[384 / 4] = 128; number[604 / 4] = 1536;
    return 0;
}
int cudaDeviceGetAttribute(int *value, int what, int device) {
    CALL("cudaDeviceGetAttribute")
    *value = what == 75 ? 8 : what == 76 ? 9 : what == 16 ? 128 : what == 10 ? 32 : what == 1 ? 1024 : what == 39 ? 1536
           : what == 97 ? 101376 : what == 8 ? 49152 : what == 81 ? 102400 : 1;
    return 0;
}
int cudaGetDevice(int *device) { CALL("cudaGetDevice") *device = 0; return 0; }
int cudaGetDeviceCount(int *devices) { CALL("cudaGetDeviceCount") *devices = 1; return 0; }
int cudaDriverGetVersion(int *version) { *version = 13010; return 0; }
int cudaRuntimeGetVersion(int *version) { *version = 13000; return 0; }

/* Kernels, and what there is a handle of. */
static int launches;
int fake_launches(void) { return launches; }
void fake_launched(int more) { launches += more; }
int cudaLaunchKernel(const void *kernel, ...) { CALL("cudaLaunchKernel") launches++; return 0; }
int __cudaLaunchKernel(const void *kernel, ...) { CALL("cudaLaunchKernel") launches++; return 0; }
int cudaLaunchKernelExC(void *how, ...) { CALL("cudaLaunchKernelExC") launches++; return 0; }
int cudaLaunchHostFunc(void *stream, void (*function)(void *), void *given) { function(given); return 0; }
static uintptr_t handle = 0x1000;
static void *new(void) { return (void *)(handle += 16); }
int cudaStreamCreate(void **stream) { CALL("cudaStreamCreate") *stream = new(); return 0; }
int cudaStreamCreateWithFlags(void **stream, unsigned flags) { CALL("cudaStreamCreateWithFlags") *stream = new(); return 0; }
int cudaStreamSynchronize(void *stream) { CALL("cudaStreamSynchronize") return 0; }
int cudaStreamIsCapturing(void *stream, int *capturing) { *capturing = 0; return 0; }
int cudaEventCreate(void **event) { CALL("cudaEventCreate") *event = new(); return 0; }
int cudaEventCreateWithFlags(void **event, unsigned flags) { CALL("cudaEventCreateWithFlags") *event = new(); return 0; }
int cudaEventElapsedTime(float *ms, void *from, void *to) { *ms = 1; return 0; }
int cudaFuncGetAttributes(void *attributes, const void *kernel) { memset(attributes, 0, 144); return 0; }
int cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *kernel, int size, size_t shared, unsigned flags) {
    *blocks = 2; return 0;
}
int cudaGetDriverEntryPointByVersion(const char *name, void **entry, unsigned version, unsigned long long flags, int *found) {
    *entry = NULL; if (found) *found = 1; return 0;
}
int __cudaGetKernel(void **kernel, const void *function) { *kernel = (void *)function; return 0; }
int cudaLibraryGetKernel(void **kernel, void *library, const char *name) { *kernel = new(); return 0; }
int cudaLibraryLoadData(void **library) { *library = new(); return 0; }
static void *binary;
void **__cudaRegisterFatBinary(void *code) { return &binary; }
void __cudaRegisterFatBinaryEnd(void **code) {}
void __cudaUnregisterFatBinary(void **code) {}
void __cudaRegisterFunction(void) {}
void __cudaRegisterVar(void) {}
int __cudaPushCallConfiguration(void) { return 0; }
int __cudaPopCallConfiguration(void) { return 0; }
int cudaGetLastError(void) { int error = last; last = 0; return error; }
int cudaPeekAtLastError(void) { return last; }
const char *cudaGetErrorName(int code) { return code == OUT_OF_MEMORY ? "cudaErrorMemoryAllocation" : "cudaErrorMadeUp"; }
const char *cudaGetErrorString(int code) { return code == OUT_OF_MEMORY ? "out of memory" : "a failure made up by a test"; }
