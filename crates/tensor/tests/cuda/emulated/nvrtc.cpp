// NVRTC, which has the C++ compiler make a shared library of a CUDA source and of the emulator's headers. What was compiled once is kept.
#include "abi.h"
#include "image.h"
#include "program.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <cerrno>

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum nvrtcResult : int {
    NVRTC_SUCCESS = 0,
    NVRTC_ERROR_OUT_OF_MEMORY = 1,
    NVRTC_ERROR_PROGRAM_CREATION_FAILURE = 2,
    NVRTC_ERROR_INVALID_INPUT = 3,
    NVRTC_ERROR_INVALID_PROGRAM = 4,
    NVRTC_ERROR_INVALID_OPTION = 5,
    NVRTC_ERROR_COMPILATION = 6,
    NVRTC_ERROR_INTERNAL_ERROR = 11,
};

// The emulator's headers, as they were when this was built.
#define EMBED(name, file)                                                                                                                      \
    asm(".section .rodata\n" #name ":\n.incbin \"" HEADERS "/" file "\"\n.byte 0\n.previous");                                              \
    extern "C" __attribute__((visibility("hidden"))) const char name[];
EMBED(emulator_header, "emulator.h")
EMBED(fibers_header, "fibers.h")
EMBED(kernel_header, "kernel.h")
EMBED(units_header, "units.h")

namespace emulated {

// What makes the library tell of each kernel in the source itself: KERNEL(threads) name(, or __global__ void name(.
static std::string launches_of(const std::string& source) {
    std::string launches;
    for (size_t from = 0; from < source.size();) {
        size_t end = std::min(source.find('\n', from), source.size());
        std::string line = source.substr(from, end - from);
        from = end + 1;
        size_t global = line.find("__global__ void"), comment = line.find("//");
        bool is_ours = line.rfind("KERNEL(", 0) == 0;
        if (!is_ours && (global == std::string::npos || global > comment || line[0] == '#')) continue;
        std::string rest = is_ours ? line.substr(6) : line.substr(global + strlen("__global__ void")), threads = "1024";
        size_t bounds = is_ours ? 0 : rest.find("__launch_bounds__(");
        if (bounds != std::string::npos) {
            // Up to the parenthesis that closes the first.
            size_t open = rest.find('(', bounds), close = open;
            for (int depth = 0; close < rest.size(); close++) {
                depth += (rest[close] == '(') - (rest[close] == ')');
                if (depth == 0) break;
            }
            threads = rest.substr(open + 1, close - open - 1);
            rest = rest.substr(std::min(close + 1, rest.size()));
        }
        size_t start = rest.find_first_not_of(' '), parenthesis = rest.find('(');
        if (start == std::string::npos || parenthesis == std::string::npos) continue;
        launches += "LAUNCH(" + rest.substr(start, parenthesis - start) + ", " + threads.substr(0, threads.find(',')) + ")\n";
    }
    return launches;
}

static uint64_t hash(const std::vector<std::string>& parts) {
    uint64_t sum = 0xcbf29ce484222325;
    auto add = [&](unsigned char byte) { sum = (sum ^ byte) * 0x100000001b3; };
    for (const std::string& part : parts) {
        for (unsigned char byte : part) add(byte);
        add(0);
    }
    return sum;
}

static void write_below(const std::string& folder, const File& file) {
    for (size_t slash = file.name.find('/'); slash != std::string::npos; slash = file.name.find('/', slash + 1)) {
        mkdir((folder + "/" + file.name.substr(0, slash)).c_str(), 0700);
    }
    write_file(folder + "/" + file.name, file.contents);
}

// Runs it; what it says goes to a file.
static bool run(const std::vector<std::string>& command, const std::string& said) {
    std::vector<char*> words;
    for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
    words.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, said.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 2, 1);
    pid_t child;
    int status = -1, failed = posix_spawnp(&child, words[0], &actions, nullptr, words.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed) return write_file(said, command[0] + ": " + strerror(failed) + "\n"), false;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static bool build(Program& program, const std::vector<std::string>& options, const std::string& library) {
    std::string folder = cache_folder() + "/" + unique_name(), unit = folder + "/unit.cpp", made = folder + "/unit.so", said = folder + "/said";
    mkdir(folder.c_str(), 0700);
    for (const File& file : program.headers) write_below(folder, file);
    write_below(folder, {program.name, program.source});
    for (auto& [name, contents] : {File{"emulator.h", emulator_header}, {"fibers.h", fibers_header}, {"kernel.h", kernel_header}, {"units.h", units_header}}) {
        write_file(folder + "/" + name, contents);
    }
    write_file(unit, "#include \"emulator.h\"\n#include \"" + program.name + "\"\n" + launches_of(program.source) +
                         "extern \"C\" __attribute__((visibility(\"default\"))) const int emulated_architecture = " +
                         std::to_string(program.architecture) + ";\n");
    const char* compiler = getenv("CXX");
    std::vector<std::string> command = {compiler ? compiler : "c++", "-std=c++17", "-O2", "-shared", "-fPIC", "-fvisibility=hidden",
                                        "-fno-strict-aliasing", "-w", "-DEMULATED", "-D__CUDA_ARCH__=" + std::to_string(10 * program.architecture), "-I" + folder};
    command.insert(command.end(), options.begin(), options.end());
    command.insert(command.end(), {unit, "-o", made});
    bool is_built = run(command, said);
    read_file(said, program.log);
    for (size_t at; (at = program.log.find(folder + "/")) != std::string::npos;) program.log.erase(at, folder.size() + 1);
    if (is_built) rename(made.c_str(), library.c_str());
    run({"rm", "-rf", folder}, "/dev/null");
    return is_built;
}

}  // namespace emulated

using emulated::Program;

EXPORT nvrtcResult nvrtcVersion(int* major, int* minor) {
    *major = 12, *minor = 8;
    return NVRTC_SUCCESS;
}

EXPORT nvrtcResult nvrtcCreateProgram(Program** program, const char* source, const char* name, int count, const char* const* headers,
                                      const char* const* names) {
    if (!program || !source || count < 0) return NVRTC_ERROR_INVALID_INPUT;
    *program = new Program;
    (*program)->name = name && *name ? name : "default_program";
    (*program)->source = source;
    for (int i = 0; i < count; i++) (*program)->headers.push_back({names[i], headers[i]});
    return NVRTC_SUCCESS;
}

EXPORT nvrtcResult nvrtcDestroyProgram(Program** program) {
    if (!program || !*program) return NVRTC_ERROR_INVALID_PROGRAM;
    delete *program;
    *program = nullptr;
    return NVRTC_SUCCESS;
}

EXPORT nvrtcResult nvrtcCompileProgram(Program* program, int count, const char* const* options) {
    if (!program) return NVRTC_ERROR_INVALID_PROGRAM;
    std::vector<std::string> understood;
    program->library.clear();
    program->log.clear();
    if (!emulated::understand(*program, count, options, understood)) return NVRTC_ERROR_INVALID_OPTION;
    const char* compiler = getenv("CXX");
    std::vector<std::string> parts = understood;
    parts.insert(parts.end(), {program->name, program->source, std::to_string(program->architecture), compiler ? compiler : "", emulator_header,
                               fibers_header, kernel_header, units_header});
    for (auto& file : program->headers) parts.insert(parts.end(), {file.name, file.contents});
    char key[17];
    snprintf(key, sizeof key, "%016llx", (unsigned long long)emulated::hash(parts));
    std::string path = emulated::cache_folder() + "/" + key + ".so";
    if (emulated::read_file(path, program->library)) return NVRTC_SUCCESS;
    if (!emulated::build(*program, understood, path)) return NVRTC_ERROR_COMPILATION;
    return emulated::read_file(path, program->library) ? NVRTC_SUCCESS : NVRTC_ERROR_INTERNAL_ERROR;
}

// What was made, with its size as NVRTC counts it.
static nvrtcResult give(const std::string& what, size_t size, size_t* asked, char* to) {
    if (asked) *asked = size;
    if (to) memcpy(to, what.c_str(), size);
    return NVRTC_SUCCESS;
}
static nvrtcResult give_ptx(Program* program, size_t* size, char* to) {
    if (!program || program->library.empty()) return NVRTC_ERROR_INVALID_PROGRAM;
    std::string ptx = emulated::ptx_of(program->library, program->architecture);
    return give(ptx, ptx.size() + 1, size, to);
}

EXPORT nvrtcResult nvrtcGetPTXSize(Program* program, size_t* size) { return give_ptx(program, size, nullptr); }
EXPORT nvrtcResult nvrtcGetPTX(Program* program, char* ptx) { return give_ptx(program, nullptr, ptx); }

// There is none for an architecture that only PTX is of.
EXPORT nvrtcResult nvrtcGetCUBINSize(Program* program, size_t* size) {
    if (!program || program->library.empty()) return NVRTC_ERROR_INVALID_PROGRAM;
    return give("", program->is_binary ? program->library.size() : 0, size, nullptr);
}
EXPORT nvrtcResult nvrtcGetCUBIN(Program* program, char* cubin) {
    if (!program || program->library.empty() || !program->is_binary) return NVRTC_ERROR_INVALID_PROGRAM;
    return give(program->library, program->library.size(), nullptr, cubin);
}

EXPORT nvrtcResult nvrtcGetProgramLogSize(Program* program, size_t* size) {
    return program ? give("", program->log.size() + 1, size, nullptr) : NVRTC_ERROR_INVALID_PROGRAM;
}
EXPORT nvrtcResult nvrtcGetProgramLog(Program* program, char* log) {
    return program ? give(program->log, program->log.size() + 1, nullptr, log) : NVRTC_ERROR_INVALID_PROGRAM;
}

EXPORT nvrtcResult nvrtcGetNumSupportedArchs(int* count) {
    *count = int(emulated::architectures().size());
    return NVRTC_SUCCESS;
}
EXPORT nvrtcResult nvrtcGetSupportedArchs(int* all) {
    std::copy(emulated::architectures().begin(), emulated::architectures().end(), all);
    return NVRTC_SUCCESS;
}

EXPORT const char* nvrtcGetErrorString(nvrtcResult result) {
    switch (result) {
        case NVRTC_SUCCESS: return "NVRTC_SUCCESS";
        case NVRTC_ERROR_OUT_OF_MEMORY: return "NVRTC_ERROR_OUT_OF_MEMORY";
        case NVRTC_ERROR_PROGRAM_CREATION_FAILURE: return "NVRTC_ERROR_PROGRAM_CREATION_FAILURE";
        case NVRTC_ERROR_INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
        case NVRTC_ERROR_INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
        case NVRTC_ERROR_INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
        case NVRTC_ERROR_COMPILATION: return "NVRTC_ERROR_COMPILATION";
        case NVRTC_ERROR_INTERNAL_ERROR: return "NVRTC_ERROR_INTERNAL_ERROR";
    }
    return "NVRTC_ERROR unknown";
}
