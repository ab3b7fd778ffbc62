// Runs a fuzz target over its checked-in corpus, in builds without libFuzzer: argv[1] is the corpus folder. An input that ever
// broke us is added there and so stays a test of every build. A missing or empty folder fails: a target nobody feeds tests nothing.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) int LLVMFuzzerInitialize(int* argc, char*** argv);

static std::vector<uint8_t> read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

int main(int argc, char** argv) {
  if (argc != 2) return fprintf(stderr, "usage: %s CORPUS_FOLDER\n", argv[0]), 2;
  if (LLVMFuzzerInitialize) LLVMFuzzerInitialize(&argc, &argv);
  std::error_code ec;
  size_t inputs = 0;
  for (std::filesystem::directory_iterator it(argv[1], ec), end; !ec && it != end; it.increment(ec)) {
    if (!it->is_regular_file()) continue;
    std::vector<uint8_t> bytes = read_file(it->path());
    LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    ++inputs;
  }
  if (ec || inputs == 0) return fprintf(stderr, "%s: no corpus there: add a few inputs, the names do not matter\n", argv[1]), 1;
  printf("%zu inputs\n", inputs);
  return 0;
}
