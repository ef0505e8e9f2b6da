// Steps of optimizers over all parameters in one launch, however many and small they are. -DC: f32, or f64 for doubles.
#include "numbers.cuh"

// The tensors of one parameter, all of `count` elements. What the rule does not remember is null.
struct Parameter {
    void* value;
    const void* grad;
    void* states[2];
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

// Dtypes are those of all parameters, all gradients, all states. `scale` multiplies gradients first: what clips or unscales them.
KERNEL(256) update(const Parameter* parameters, const Piece* pieces, i64 count, Rule rule, int value_dtype, int grad_dtype, int state_dtype,
                   const C* scale) {
    for (i64 piece = blockIdx.x; piece < count; piece += gridDim.x) {
        Parameter own = parameters[pieces[piece].parameter];
        i64 start = pieces[piece].start, end = least(own.count, start + PIECE);
        for (i64 i = start + threadIdx.x; i < end; i += blockDim.x) {
            C p = load<C>(own.value, value_dtype, i), g = load<C>(own.grad, grad_dtype, i), m = 0, v = 0;
            if (scale) g *= *scale;
            if (own.states[0]) m = load<C>(own.states[0], state_dtype, i);
            if (own.states[1]) v = load<C>(own.states[1], state_dtype, i);
            step(rule, p, g, m, v);
            store(own.value, value_dtype, i, p);
            if (own.states[0]) store(own.states[0], state_dtype, i, m);
            if (own.states[1]) store(own.states[1], state_dtype, i, v);
        }
    }
}
