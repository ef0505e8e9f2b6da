#include "image.h"

#include "call.h"

#include <cctype>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include <dlfcn.h>
#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

namespace emulated {

static const char PTX_START[] = "//\n// Emulated PTX\n//\n", PTX_LIBRARY[] = "\n// library ";

std::string ptx_of(const std::string& library, int architecture) {
    std::string ptx = PTX_START + (".version 8.5\n.target sm_" + std::to_string(architecture)) + "\n.address_size 64\n" + PTX_LIBRARY;
    for (unsigned char byte : library) {
        ptx += "0123456789abcdef"[byte >> 4];
        ptx += "0123456789abcdef"[byte & 15];
    }
    return ptx + "\n";
}

static std::string library_of_ptx(const char* ptx) {
    const char* at = strstr(ptx, PTX_LIBRARY);
    require(at, CUDA_ERROR_INVALID_PTX);
    std::string library;
    auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
    for (at += strlen(PTX_LIBRARY); isxdigit(at[0]) && isxdigit(at[1]); at += 2) library += char(digit(at[0]) << 4 | digit(at[1]));
    return library;
}

// Its section headers stand at its end.
static std::string library_of_elf(const char* elf) {
    Elf64_Ehdr header;
    memcpy(&header, elf, sizeof header);
    require(header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_type == ET_DYN, CUDA_ERROR_INVALID_IMAGE);
    return std::string(elf, header.e_shoff + size_t(header.e_shnum) * header.e_shentsize);
}

void* open_image(const void* image, int capability) {
    const char* start = static_cast<const char*>(image);
    bool is_elf = !strncmp(start, ELFMAG, SELFMAG), is_ptx = !strncmp(start, PTX_START, strlen(PTX_START));
    require(is_elf || is_ptx, CUDA_ERROR_INVALID_IMAGE);
    // A name of its own, or the loader would give the same library twice.
    std::string path = cache_folder() + "/" + unique_name() + ".so";
    require(write_file(path, is_elf ? library_of_elf(start) : library_of_ptx(start)), CUDA_ERROR_INVALID_IMAGE);
    void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    unlink(path.c_str());
    require(library, is_elf ? CUDA_ERROR_INVALID_IMAGE : CUDA_ERROR_INVALID_PTX);
    auto* architecture = static_cast<const int*>(dlsym(library, "emulated_architecture"));
    // Binaries run on later devices of their generation, PTX on all later ones.
    bool suits = architecture && *architecture <= capability && (is_ptx || *architecture / 10 == capability / 10);
    if (!suits) dlclose(library);
    require(suits, is_ptx ? CUDA_ERROR_INVALID_PTX : CUDA_ERROR_NO_BINARY_FOR_GPU);
    return library;
}

bool read_file(const std::string& path, std::string& contents) {
    std::ifstream file(path, std::ios::binary);
    std::ostringstream all;
    if (!file || !(all << file.rdbuf())) return false;
    contents = all.str();
    return true;
}

bool write_file(const std::string& path, const std::string& contents) {
    std::ofstream file(path, std::ios::binary);
    return bool(file.write(contents.data(), std::streamsize(contents.size())).flush());
}

std::string cache_folder() {
    Dl_info self;
    const char* given = getenv("EMULATED_CUDA_CACHE");
    std::string folder = given ? given : ".";
    if (!given && dladdr(reinterpret_cast<void*>(cache_folder), &self)) {
        folder = self.dli_fname;
        folder = folder.substr(0, folder.rfind('/') + 1) + "compiled";
    }
    mkdir(folder.c_str(), 0700);
    return folder;
}

std::string unique_name() {
    static unsigned last = 0;
    return std::to_string(getpid()) + "-" + std::to_string(__atomic_add_fetch(&last, 1, __ATOMIC_RELAXED));
}

}  // namespace emulated
