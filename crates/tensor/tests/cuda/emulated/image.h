// What the emulated NVRTC compiles to and the emulated driver loads: as a CUBIN a shared library, as PTX a text with the same in hexadecimal digits.
#pragma once

#include <string>

namespace emulated {

std::string ptx_of(const std::string& library, int architecture);

// Opens one for a device of so many tenths of a capability. Throws CUDA's Failure where it is no image, or of another architecture.
void* open_image(const void* image, int capability);

// The whole file; false where it cannot be.
bool read_file(const std::string& path, std::string& contents);
bool write_file(const std::string& path, const std::string& contents);
// A folder for what was compiled, in which others find it again: EMULATED_CUDA_CACHE, or one beside this library.
std::string cache_folder();
// No other file has it.
std::string unique_name();

}  // namespace emulated
