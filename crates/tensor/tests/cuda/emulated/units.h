// What matrix.cuh and early.cuh have NVIDIA's generations do by instructions, as the PTX ISA says it: ldmatrix, mma and cp.async, prefetch and
// griddepcontrol.
#pragma once

// Elements are told apart by overloads that come later.
namespace emulator {

template <typename Of> float element(unsigned word, unsigned half) {
    Of x;
    unsigned short bits = word >> 16 * half;
    memcpy(&x, &bits, sizeof x);
    return widen(x);
}

// sums += a b by lanes that have (rows, columns) of a: (g, 2 t), (g + 8, 2 t), then those eight columns on, of b: (2 t, g), then those eight rows on,
// and of the sums: (g, 2 t), (g + 8, 2 t); each with its neighbour, where g is lane / 4 and t is lane % 4.
template <typename Of, unsigned DEEP> void multiply(float (&sums)[4], const unsigned* a, const unsigned* b) {
    struct Factors {
        unsigned a[DEEP / 4], b[DEEP / 8];
    } own;
    memcpy(own.a, a, sizeof own.a), memcpy(own.b, b, sizeof own.b);
    Brought all = bring(own);
    unsigned g = lane() / 4, t = lane() % 4;
    for (unsigned k = 0; k < DEEP; k++) {
        unsigned within = k % 8 / 2, part = k / 8;
        Factors left = all.of<Factors>(4 * g + within);
        for (unsigned c = 0; c < 2; c++) {
            float right = element<Of>(all.of<Factors>(4 * (2 * t + c) + within).b[part], k % 2);
            for (unsigned r = 0; r < 2; r++) sums[2 * r + c] += element<Of>(left.a[2 * part + r], k % 2) * right;
        }
    }
}

// Copies that a thread has asked for and not waited for.
struct Copy {
    void* to;
    const void* from;
};
struct Copies {
    Copy all[256];
    unsigned count;
};
inline Copies copies[MOST_THREADS];
inline Copies& own_copies() { return copies[state.running - state.all]; }

}  // namespace emulator

#if __CUDA_ARCH__ >= 750
// ldmatrix.sync.aligned.m8n8.x4{.trans}.shared.b16: lane i says where row i % 8 of matrix i / 8 begins.
using Place = size_t;
inline Place place_of(const void* at) { return Place(at); }
template <bool TURNED> void read_matrices(unsigned (&to)[4], Place row) {
    emulator::Brought rows = emulator::bring(row);
    unsigned g = emulator::lane() / 4, t = emulator::lane() % 4;
    auto at = [&](unsigned matrix, unsigned row, unsigned column) -> unsigned {
        return rows.of<const unsigned short*>(8 * matrix + row)[column];
    };
    for (unsigned i = 0; i < 4; i++) {
        to[i] = TURNED ? at(i, 2 * t, g) | at(i, 2 * t + 1, g) << 16 : at(i, g, 2 * t) | at(i, g, 2 * t + 1) << 16;
    }
}
#endif

#if __CUDA_ARCH__ >= 800
// mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32, and of f16.
template <typename Of> void mma(float (&sums)[4], const unsigned (&a)[4], const unsigned (&b)[2]) { emulator::multiply<Of, 16>(sums, a, b); }

// cp.async.cg.shared.global of 16 bytes, or of none and zeros: until the thread has waited, what is there is anything.
inline void copy_piece(void* to, const void* from, bool is_there) {
    emulator::Copies& own = emulator::own_copies();
    if (size_t(to) % 16 || size_t(from) % 16 || own.count == sizeof own.all / sizeof *own.all) {
        fprintf(stderr, "emulator: a copy that begins on no boundary of 16 bytes, or one of too many\n");
        abort();
    }
    memset(to, 0xff, 16);
    own.all[own.count++] = {to, is_there ? from : nullptr};
}
// cp.async.wait_all
inline void wait_for_copies() {
    emulator::Copies& own = emulator::own_copies();
    for (unsigned i = 0; i < own.count; i++) {
        if (own.all[i].from) memcpy(own.all[i].to, own.all[i].from, 16);
        else memset(own.all[i].to, 0, 16);
    }
    own.count = 0;
}
#elif __CUDA_ARCH__ >= 750
// mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32
template <typename Of> void mma(float (&sums)[4], const unsigned (&a)[2], const unsigned (&b)[1]) { emulator::multiply<Of, 8>(sums, a, b); }
#endif

#if __CUDA_ARCH__ >= 900
// Whoever asks for what is not there finds out.
inline void prefetch(const void* at) { (void)*static_cast<const volatile char*>(at); }
// Kernels run one after another.
inline void launch_dependents() {}
inline void wait_for_prerequisites() { emulator::state.waited++; }
#endif
