// Functions of one number and their slopes.
#pragma once
#include "common.cuh"

constexpr double ROOT_HALF = 0.70710678118654752440, ROOT_2_OVER_PI = 0.79788456080286535588;

template <typename V> DEVICE V sigmoid(V x) { return 1 / (1 + exp(-x)); }
template <typename V> DEVICE V gelu(V x) { return V(0.5) * x * (1 + erf(x * V(ROOT_HALF))); }
template <typename V> DEVICE V gelu_tanh(V x) {
    return V(0.5) * x * (1 + tanh(V(ROOT_2_OVER_PI) * (x + V(0.044715) * x * x * x)));
}
template <typename V> DEVICE V relu(V x) { return x < V(0) ? V(0) : x; }

// In the order of the host's activations.
enum Activation : i32 { IDENTITY, GELU, GELU_TANH, QUICK_GELU, RELU, RELU_SQUARED, SILU, SIGMOID, TANH };

DEVICE float activate(int activation, float x) {
    switch (activation) {
        case GELU: return gelu(x);
        case GELU_TANH: return gelu_tanh(x);
        case QUICK_GELU: return x * sigmoid(1.702f * x);
        case RELU: return relu(x);
        case RELU_SQUARED: return relu(x) * relu(x);
        case SILU: return x * sigmoid(x);
        case SIGMOID: return sigmoid(x);
        case TANH: return tanhf(x);
        default: return x;
    }
}

// With s = σ(a x): s + a x s (1 - s).
DEVICE float swish_slope(float a, float x) {
    float s = sigmoid(a * x);
    return s + a * x * s * (1 - s);
}

DEVICE float activation_slope(int activation, float x) {
    switch (activation) {
        // Φ(x) + x φ(x)
        case GELU: return 0.5f * (1 + erff(x * float(ROOT_HALF))) + x * 0.3989422804014327f * expf(-0.5f * x * x);
        case GELU_TANH: {
            // By the sigmoid: the tanh, 2s - 1, has lost its digits where x is far below zero.
            float s = sigmoid(2 * float(ROOT_2_OVER_PI) * x * (1 + 0.044715f * x * x));
            return s + 2 * x * s * (1 - s) * float(ROOT_2_OVER_PI) * (1 + 3 * 0.044715f * x * x);
        }
        case QUICK_GELU: return swish_slope(1.702f, x);
        case RELU: return x > 0 ? 1.0f : 0.0f;
        case RELU_SQUARED: return 2 * relu(x);
        case SILU: return swish_slope(1, x);
        case SIGMOID: return sigmoid(x) * (1 - sigmoid(x));
        case TANH: return 1 - tanhf(x) * tanhf(x);
        default: return 1;
    }
}
