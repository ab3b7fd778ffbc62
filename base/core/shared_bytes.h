// SharedBytes: immutable bytes with any number of owners, in any thread; one allocation, and one pointer per owner. For things that
// are kept by the ten thousand and read rarely.
#pragma once
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/core/assert.h"

namespace base {

class SharedBytes {
 public:
  SharedBytes() = default;
  explicit SharedBytes(std::string_view v) : block_(static_cast<Block*>(std::malloc(sizeof(Block) + v.size()))) {
    EM_ASSERT(block_ && v.size() <= UINT32_MAX);
    new (block_) Block{{1}, uint32_t(v.size())};
    std::memcpy(block_->bytes(), v.data(), v.size());
  }
  SharedBytes(const SharedBytes& o) : block_(o.block_) {
    if (block_) block_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  SharedBytes(SharedBytes&& o) noexcept : block_(std::exchange(o.block_, nullptr)) {}
  SharedBytes& operator=(SharedBytes o) noexcept { return std::swap(block_, o.block_), *this; }
  ~SharedBytes() {
    if (block_ && block_->owners.fetch_sub(1, std::memory_order_acq_rel) == 1) std::free(block_);
  }

  explicit operator bool() const { return block_ != nullptr; }
  std::string_view view() const { return block_ ? std::string_view(block_->bytes(), block_->size) : std::string_view(); }

 private:
  struct Block {
    std::atomic<uint32_t> owners;
    uint32_t size;
    char* bytes() { return reinterpret_cast<char*>(this + 1); }
  };
  Block* block_ = nullptr;
};

}  // namespace base
