// Steps of optimizers over all parameters in one launch, however many and small they are. -DC: f32, or f64 for doubles.
#include "numbers.cuh"

// What is remembered of each element: numbers, or with scales the codes of fractions of the scale of each BLOCK neighbours. Null for what the rule
// does not remember.
constexpr int BLOCK = 256;
struct State {
    void* at;
    float* scales;
};

// What states are kept as: a Dtype, or one of these two lists of fractions (Dettmers et al. 2022), which ascend.
enum Coded : i32 { SIGNED = F64 + 1, UNSIGNED };
constexpr int FRACTIONS = 256;

// The tensors of one parameter, all of `count` elements.
struct Parameter {
    void* value;
    const void* grad;
    State states[2];
    i64 count;
};

// What a block does: up to PIECE elements of a parameter from `start` on.
constexpr int PIECE = 4096;
struct Piece {
    i64 parameter, start;
};

enum Method : i64 { ADAM, SGD, LION, ADAGRAD, RMSPROP };

// The numbers of a rule as the processor's kernel has them, computed by the host in doubles: `kept` and `added` are what weight decay makes of
// parameter and gradient.
struct Rule {
    i64 method;
    C rate, kept, added, first, second, eps, correction;
};

// One element: p by its gradient g and what is remembered, m and v.
DEVICE void step(const Rule& rule, C& p, C g, C& m, C& v) {
    g += rule.added * p;
    switch (rule.method) {
        // first and second: how much of the means is kept; rate and correction hold those of their bias.
        case ADAM:
            m = rule.first * m + (1 - rule.first) * g;
            v = rule.second * v + (1 - rule.second) * g * g;
            p = rule.kept * p - rule.rate * m / (sqrt(v) / rule.correction + rule.eps);
            break;
        // first and second: how much of the sum is kept and of g given to it; correction: how much of both counts (Nesterov), or 0 for
        // the sum alone; eps: 1 for a rule without a sum.
        case SGD:
            if (rule.eps == 0) m = rule.first * m + rule.second * g;
            p -= rule.rate * (rule.eps != 0 ? g : rule.correction != 0 ? g + rule.correction * m : m);
            break;
        case LION: {
            C direction = rule.first * m + (1 - rule.first) * g;
            p = rule.kept * p - rule.rate * C((direction > 0) - (direction < 0));
            m = rule.second * m + (1 - rule.second) * g;
            break;
        }
        case ADAGRAD:
            m += g * g;
            p -= rule.rate * g / (sqrt(m) + rule.eps);
            break;
        default:
            m = rule.first * m + (1 - rule.first) * g * g;
            p -= rule.rate * g / (sqrt(m) + rule.eps);
    }
}

// The place of the fraction that is nearest to x.
DEVICE u8 nearest(const float* fractions, float x) {
    int place = 0;
    for (int step = FRACTIONS / 2; step > 0; step /= 2) {
        if (x >= (fractions[place + step - 1] + fractions[place + step]) / 2) place += step;
    }
    return u8(place);
}

DEVICE C recalled(const State& state, int kept_as, const float* fractions, i64 i) {
    if (kept_as < SIGNED) return load<C>(state.at, kept_as, i);
    return C(fractions[(kept_as - SIGNED) * FRACTIONS + static_cast<const u8*>(state.at)[i]] * state.scales[i / BLOCK]);
}

// All threads of a block take part, with the elements of one BLOCK, as far as there are such.
DEVICE void remember(const State& state, int kept_as, const float* fractions, i64 i, bool is_there, C value) {
    if (kept_as < SIGNED) {
        if (is_there) store(state.at, kept_as, i, value);
        return;
    }
    float x = float(value), largest = reduce_row<Max>(is_there ? fabsf(x) : 0.0f), inverse = largest == 0 ? 0 : 1 / largest;
    if (threadIdx.x == 0) state.scales[i / BLOCK] = largest;
    if (is_there) static_cast<u8*>(state.at)[i] = nearest(fractions + (kept_as - SIGNED) * FRACTIONS, x * inverse);
}

// Dtypes are those of all parameters, all gradients, all first and all second states; `fractions` are the lists that codes are of, if there are
// any.
KERNEL(256) update(const Parameter* parameters, const Piece* pieces, i64 count, Rule rule, int value_dtype, int grad_dtype, int first_kept_as,
                   int second_kept_as, const float* fractions) {
    __shared__ float shared[2 * FRACTIONS];
    for (int i = threadIdx.x; fractions && i < 2 * FRACTIONS; i += blockDim.x) shared[i] = fractions[i];
    __syncthreads();
    for (i64 piece = blockIdx.x; piece < count; piece += gridDim.x) {
        Parameter own = parameters[pieces[piece].parameter];
        i64 start = pieces[piece].start, end = least(own.count, start + PIECE);
        for (i64 from = start; from < end; from += BLOCK) {
            i64 i = from + threadIdx.x;
            bool is_there = i < end;
            C p = 0, m = 0, v = 0;
            if (is_there) {
                C g = load<C>(own.grad, grad_dtype, i);
                p = load<C>(own.value, value_dtype, i);
                if (own.states[0].at) m = recalled(own.states[0], first_kept_as, shared, i);
                if (own.states[1].at) v = recalled(own.states[1], second_kept_as, shared, i);
                step(rule, p, g, m, v);
                store(own.value, value_dtype, i, p);
            }
            if (own.states[0].at) remember(own.states[0], first_kept_as, shared, i, is_there, m);
            if (own.states[1].at) remember(own.states[1], second_kept_as, shared, i, is_there, v);
        }
    }
}
