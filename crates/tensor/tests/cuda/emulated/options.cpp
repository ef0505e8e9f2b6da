// The options of NVRTC, of which few change what is compiled here. One that NVRTC does not know it refuses.
#include "program.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace emulated {

const std::vector<int>& architectures() {
    static const std::vector<int> all = {50, 52, 53, 60, 61, 62, 70, 72, 75, 80, 86, 87, 89, 90, 100, 101, 103, 120, 121};
    return all;
}

// Options that change nothing here.
static const char* const IGNORED[] = {
    "use_fast_math", "fmad", "ftz", "prec-div", "prec-sqrt", "extra-device-vectorization", "default-device",
    "device-as-default-execution-space", "maxrregcount", "lineinfo", "generate-line-info", "device-debug", "G", "dopt", "disable-warnings",
    "w", "diag-suppress", "relocatable-device-code", "rdc", "restrict", "extensible-whole-program", "ptxas-options", "Xptxas",
    "device-int128", "minimal", "split-compile", "no-cache", "std", "builtin-move-forward", "builtin-initializer-list", "time",
    "modify-stack-limit", "version-ident",
};

bool understand(Program& program, int count, const char* const* options, std::vector<std::string>& out) {
    program.architecture = 75;
    program.is_binary = false;
    auto refuse = [&](const std::string& option) {
        program.log = "nvrtc: error: unrecognized option " + option + " found\n";
        return false;
    };
    for (int i = 0; i < count; i++) {
        std::string whole = options[i], option = whole.substr(std::min(whole.find_first_not_of('-'), whole.size()));
        if (whole.empty() || whole[0] != '-') return refuse(whole);
        size_t equals = option.find('=');
        std::string name = option.substr(0, equals), value = equals == std::string::npos ? "" : option.substr(equals + 1);
        // -D X and -D=X beside -DX.
        bool is_short = whole[1] != '-' && (option[0] == 'D' || option[0] == 'I' || option[0] == 'U');
        if (is_short) {
            value = option.size() > 1 ? option.substr(option[1] == '=' ? 2 : 1) : i + 1 < count ? options[++i] : "";
            out.push_back("-" + option.substr(0, 1) + value);
        } else if (name == "define-macro") out.push_back("-D" + value);
        else if (name == "undefine-macro") out.push_back("-U" + value);
        else if (name == "include-path") out.push_back("-I" + value);
        else if (name == "gpu-architecture" || name == "arch") {
            if (equals == std::string::npos && i + 1 < count) value = options[++i];
            char kind[8] = "";
            bool is_known = sscanf(value.c_str(), "%7[a-z]_%d", kind, &program.architecture) == 2;
            program.is_binary = !strcmp(kind, "sm");
            is_known &= program.is_binary || !strcmp(kind, "compute");
            bool exists = false;
            for (int one : architectures()) exists |= one == program.architecture;
            if (!is_known || !exists) {
                program.log = "nvrtc: error: invalid value for --gpu-architecture (-arch)\n";
                return false;
            }
        } else {
            bool is_known = false;
            for (const char* one : IGNORED) is_known |= name == one;
            if (!is_known) return refuse(whole);
            // Its value may stand by itself.
            if (equals == std::string::npos && i + 1 < count && options[i + 1][0] != '-') i++;
        }
    }
    return true;
}

}  // namespace emulated
