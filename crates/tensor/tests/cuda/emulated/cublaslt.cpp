#include "cublaslt.h"

#include "work.h"

#include <cstring>
#include <initializer_list>
#include <type_traits>

using namespace emulated;

struct Handle {
    int ignored;
};

// The kinds of objects, each with what sets it to its defaults and where its attributes lie.
struct Field {
    size_t offset, bytes;
};
#define FIELD(Of, name) Field{offsetof(Of, name), sizeof(Of::name)}
constexpr Field NONE{0, 0};

static Field field_of(const Description*, int attribute) {
    switch (attribute) {
        case 0: return FIELD(Description, compute);
        case 1: return FIELD(Description, scale);
        case 2: return FIELD(Description, pointer_mode);
        case 3: return FIELD(Description, turn_a);
        case 4: return FIELD(Description, turn_b);
        case 5: return FIELD(Description, turn_c);
        case 7: return FIELD(Description, epilogue);
        case 8: return FIELD(Description, bias);
        case 10: return FIELD(Description, bias_stride);
        case 15: return FIELD(Description, sm_count);
        case 25: return FIELD(Description, is_fast);
        case 26: return FIELD(Description, bias_type);
        default: return NONE;
    }
}
static Field field_of(const Layout*, int attribute) {
    switch (attribute) {
        case 0: return FIELD(Layout, type);
        case 1: return FIELD(Layout, order);
        case 2: return FIELD(Layout, rows);
        case 3: return FIELD(Layout, columns);
        case 4: return FIELD(Layout, apart);
        case 5: return FIELD(Layout, batch);
        case 6: return FIELD(Layout, stride);
        default: return NONE;
    }
}
static Field field_of(const Preference*, int attribute) {
    switch (attribute) {
        case 0: return FIELD(Preference, search_mode);
        case 1: return FIELD(Preference, workspace);
        case 3: return FIELD(Preference, reductions);
        case 5:
        case 6:
        case 7:
        case 8: return {offsetof(Preference, alignment) + (attribute - 5) * sizeof(unsigned), sizeof(unsigned)};
        default: return NONE;
    }
}

template <typename Of> static cublasStatus_t set(Of* object, int attribute, const void* from, size_t bytes) {
    Field field = field_of(object, attribute);
    if (!object || !from || field.bytes == 0 || bytes < field.bytes) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(reinterpret_cast<unsigned char*>(object) + field.offset, from, field.bytes);
    return CUBLAS_STATUS_SUCCESS;
}
template <typename Of> static cublasStatus_t get(const Of* object, int attribute, void* to, size_t bytes, size_t* written) {
    Field field = field_of(object, attribute);
    if (!object || field.bytes == 0) return CUBLAS_STATUS_INVALID_VALUE;
    if (written) *written = field.bytes;
    if (bytes == 0 && written) return CUBLAS_STATUS_SUCCESS;
    if (!to || bytes < field.bytes) return CUBLAS_STATUS_INVALID_VALUE;
    memcpy(to, reinterpret_cast<const unsigned char*>(object) + field.offset, field.bytes);
    return CUBLAS_STATUS_SUCCESS;
}
template <typename Of> static cublasStatus_t make(Of** object, const Of& value) {
    if (!object) return CUBLAS_STATUS_INVALID_VALUE;
    *object = new Of(value);
    return CUBLAS_STATUS_SUCCESS;
}
template <typename Of> static cublasStatus_t init(Of* object, size_t bytes, const Of& value) {
    if (!object || bytes < sizeof(Of)) return CUBLAS_STATUS_INVALID_VALUE;
    *object = value;
    return CUBLAS_STATUS_SUCCESS;
}
template <typename Of> static cublasStatus_t destroy(Of* object) {
    delete object;
    return CUBLAS_STATUS_SUCCESS;
}

static Description description(Compute compute, Type scale) { return {compute, scale, 0, 0, 0, 0, PLAIN, -1, nullptr, 0, 0, 0}; }
static Layout layout(Type type, uint64_t rows, uint64_t columns, int64_t apart) { return {type, ORDER_COLUMN, rows, columns, apart, 1, 0, 0}; }
static Preference preference() { return {0, {256, 256, 256, 256}, 0, 0xffffffff, {}}; }

EXPORT cublasStatus_t cublasLtCreate(Handle** handle) {
    if (!handle) return CUBLAS_STATUS_INVALID_VALUE;
    if (!emulated_cuda_capability()) return CUBLAS_STATUS_NOT_INITIALIZED;
    return make(handle, Handle{0});
}
EXPORT cublasStatus_t cublasLtDestroy(Handle* handle) { return handle ? destroy(handle) : CUBLAS_STATUS_NOT_INITIALIZED; }
EXPORT size_t cublasLtGetVersion() { return 120804; }
EXPORT size_t cublasLtGetCudartVersion() { return 12080; }

EXPORT cublasStatus_t cublasLtMatmulDescCreate(Description** out, Compute compute, Type scale) { return make(out, description(compute, scale)); }
EXPORT cublasStatus_t cublasLtMatmulDescInit_internal(Description* out, size_t bytes, Compute compute, Type scale) {
    return init(out, bytes, description(compute, scale));
}
EXPORT cublasStatus_t cublasLtMatmulDescDestroy(Description* of) { return destroy(of); }
EXPORT cublasStatus_t cublasLtMatmulDescSetAttribute(Description* of, int attribute, const void* from, size_t bytes) {
    return set(of, attribute, from, bytes);
}
EXPORT cublasStatus_t cublasLtMatmulDescGetAttribute(Description* of, int attribute, void* to, size_t bytes, size_t* written) {
    return get(of, attribute, to, bytes, written);
}

EXPORT cublasStatus_t cublasLtMatrixLayoutCreate(Layout** out, Type type, uint64_t rows, uint64_t columns, int64_t apart) {
    return make(out, layout(type, rows, columns, apart));
}
EXPORT cublasStatus_t cublasLtMatrixLayoutInit_internal(Layout* out, size_t bytes, Type type, uint64_t rows, uint64_t columns, int64_t apart) {
    return init(out, bytes, layout(type, rows, columns, apart));
}
EXPORT cublasStatus_t cublasLtMatrixLayoutDestroy(Layout* of) { return destroy(of); }
EXPORT cublasStatus_t cublasLtMatrixLayoutSetAttribute(Layout* of, int attribute, const void* from, size_t bytes) {
    return set(of, attribute, from, bytes);
}
EXPORT cublasStatus_t cublasLtMatrixLayoutGetAttribute(Layout* of, int attribute, void* to, size_t bytes, size_t* written) {
    return get(of, attribute, to, bytes, written);
}

EXPORT cublasStatus_t cublasLtMatmulPreferenceCreate(Preference** out) { return make(out, preference()); }
EXPORT cublasStatus_t cublasLtMatmulPreferenceInit_internal(Preference* out, size_t bytes) { return init(out, bytes, preference()); }
EXPORT cublasStatus_t cublasLtMatmulPreferenceDestroy(Preference* of) { return destroy(of); }
EXPORT cublasStatus_t cublasLtMatmulPreferenceSetAttribute(Preference* of, int attribute, const void* from, size_t bytes) {
    return set(of, attribute, from, bytes);
}
EXPORT cublasStatus_t cublasLtMatmulPreferenceGetAttribute(Preference* of, int attribute, void* to, size_t bytes, size_t* written) {
    return get(of, attribute, to, bytes, written);
}

// The only algorithm there is, and what it was asked for.
struct Algorithm {
    uint64_t name, product, unused[6];
};
constexpr uint64_t NAME = 0x7e57'a190;

static uint64_t hash(const Description& of, const Layout& a, const Layout& b, const Layout& d) {
    uint64_t sum = 0xcbf29ce484222325;
    for (uint64_t part : {uint64_t(of.compute), uint64_t(of.turn_a), uint64_t(of.turn_b), uint64_t(of.epilogue), uint64_t(a.type), a.rows, a.columns,
                          uint64_t(a.order), uint64_t(b.order), b.rows, b.columns, uint64_t(d.type), uint64_t(d.order), uint64_t(d.batch)}) {
        sum = (sum ^ part) * 0x100000001b3;
    }
    return sum;
}

struct Heuristic {
    Algorithm algorithm;
    size_t workspace;
    cublasStatus_t state;
    float waves;
    int reserved[4];
};

EXPORT cublasStatus_t cublasLtMatmulAlgoGetHeuristic(Handle* handle, const Description* of, const Layout* a, const Layout* b, const Layout* c,
                                                     const Layout* d, const Preference* wanted, int most, Heuristic* out, int* count) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!of || !a || !b || !c || !d || !wanted || most < 1 || !out || !count) return CUBLAS_STATUS_INVALID_VALUE;
    *count = 0;
    cublasStatus_t judged = judge(*of, *a, *b, *c, *d, emulated_cuda_capability());
    if (judged != CUBLAS_STATUS_SUCCESS) return judged;
    // The library need not have an algorithm for everything: this one has none for what lies on no boundary of a word.
    for (unsigned alignment : wanted->alignment) {
        if (alignment < 4) return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    *count = 1;
    out[0] = {{NAME, hash(*of, *a, *b, *d), {}}, 0, CUBLAS_STATUS_SUCCESS, 1.0f, {}};
    return CUBLAS_STATUS_SUCCESS;
}

// Whether it lies whole in memory of a device, on a boundary of its elements.
static bool is_there(const Layout& of, const void* at) {
    int64_t across = int64_t(of.order == ORDER_COLUMN ? of.columns : of.rows), down = int64_t(of.order == ORDER_COLUMN ? of.rows : of.columns);
    if (across == 0 || down == 0) return true;
    int64_t last = (across - 1) * of.apart + down + (of.batch - 1) * of.stride;
    return uintptr_t(at) % size_of(of.type) == 0 && emulated_cuda_has(at, size_t(last) * size_of(of.type));
}

EXPORT cublasStatus_t cublasLtMatmul(Handle* handle, const Description* of, const void* alpha, const void* at_a, const Layout* a, const void* at_b,
                                     const Layout* b, const void* beta, const void* at_c, const Layout* c, void* at_d, const Layout* d,
                                     const Algorithm* algorithm, void* workspace, size_t workspace_bytes, CUstream stream) {
    if (!handle) return CUBLAS_STATUS_NOT_INITIALIZED;
    if (!of || !alpha || !beta || !a || !b || !c || !d) return CUBLAS_STATUS_INVALID_VALUE;
    cublasStatus_t judged = judge(*of, *a, *b, *c, *d, emulated_cuda_capability());
    if (judged != CUBLAS_STATUS_SUCCESS) return judged;
    if (algorithm && (algorithm->name != NAME || algorithm->product != hash(*of, *a, *b, *d))) return CUBLAS_STATUS_INVALID_VALUE;
    if (workspace_bytes && (uintptr_t(workspace) % 16 || !emulated_cuda_has(workspace, workspace_bytes))) return CUBLAS_STATUS_INVALID_VALUE;
    Product product{*of, *a, *b, *c, *d, at_a, at_b, at_c, at_d, {}, {}};
    memcpy(product.alpha, alpha, size_of(of->scale));
    memcpy(product.beta, beta, size_of(of->scale));
    const unsigned char zeros[8] = {};
    bool reads_c = memcmp(product.beta, zeros, sizeof zeros);
    if (!is_there(*a, at_a) || !is_there(*b, at_b) || !is_there(*d, at_d) || (reads_c && !is_there(*c, at_c))) return CUBLAS_STATUS_INVALID_VALUE;
    if (product.of.bias_type == -1) product.of.bias_type = d->type;
    if (of->epilogue & BIAS) {
        int64_t last = int64_t(d->rows) + (d->batch - 1) * of->bias_stride;
        // A GPU reads it in pieces of so many bytes, and is lost where it does not lie so.
        if (uintptr_t(of->bias) % 16) return CUBLAS_STATUS_INVALID_VALUE;
        if (!emulated_cuda_has(of->bias, size_t(last) * size_of(Type(product.of.bias_type)))) return CUBLAS_STATUS_INVALID_VALUE;
    }
    auto run = [](const void* data) {
        Product copied;
        memcpy(&copied, data, sizeof copied);
        multiply(copied);
    };
    CUresult result = emulated_cuda_enqueue(stream, run, &product, sizeof product);
    return result == CUDA_SUCCESS ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

EXPORT const char* cublasLtGetStatusName(cublasStatus_t status) {
    switch (status) {
        case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
        case CUBLAS_STATUS_NOT_INITIALIZED: return "CUBLAS_STATUS_NOT_INITIALIZED";
        case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
        case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
        case CUBLAS_STATUS_ARCH_MISMATCH: return "CUBLAS_STATUS_ARCH_MISMATCH";
        case CUBLAS_STATUS_MAPPING_ERROR: return "CUBLAS_STATUS_MAPPING_ERROR";
        case CUBLAS_STATUS_EXECUTION_FAILED: return "CUBLAS_STATUS_EXECUTION_FAILED";
        case CUBLAS_STATUS_INTERNAL_ERROR: return "CUBLAS_STATUS_INTERNAL_ERROR";
        case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "CUBLAS_STATUS unknown";
}
EXPORT const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }
