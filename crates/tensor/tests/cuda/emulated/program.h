// A program of NVRTC.
#pragma once

#include <string>
#include <vector>

namespace emulated {

struct File {
    std::string name, contents;
};

struct Program {
    std::string name, source, log, library;
    std::vector<File> headers;
    int architecture = 0;
    // Whether the device's own code was asked for, or only PTX.
    bool is_binary = false;
};

const std::vector<int>& architectures();

// Appends the options of the C++ compiler that `options` come to; false, with a log, for one that there is not.
bool understand(Program& program, int count, const char* const* options, std::vector<std::string>& out);

}  // namespace emulated
