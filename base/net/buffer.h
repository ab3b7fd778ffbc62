// A byte queue in one piece of memory: append at the end, consume from the front. Views are good until the next change.
#pragma once
#include <algorithm>

#include "base/core/assert.h"
#include "base/core/bytes.h"

namespace base {

class Buffer {
 public:
  size_t size() const { return bytes_.size() - head_; }
  bool empty() const { return size() == 0; }
  ByteView view() const { return {bytes_.data() + head_, size()}; }
  std::string_view text() const { return as_text(view()); }

  void append(ByteView b) {
    make_room(b.size());
    bytes_.insert(bytes_.end(), b.begin(), b.end());
  }
  // Lets `fill` write up to n bytes at the end; it returns how many it wrote (negative: none).
  template <class F>
  auto append_with(size_t n, F fill) {
    make_room(n);
    size_t before = bytes_.size();
    bytes_.resize(before + n);
    auto got = fill(bytes_.data() + before, n);
    bytes_.resize(before + (got > 0 ? size_t(got) : 0));
    return got;
  }
  void consume(size_t n) {
    EM_ASSERT(n <= size());
    head_ += n;
    if (head_ == bytes_.size()) clear();
  }
  void clear() {
    bytes_.clear();
    head_ = 0;
    if (bytes_.capacity() > kKeepBytes) bytes_.shrink_to_fit();  // an idle connection costs little
  }

 private:
  static constexpr size_t kKeepBytes = 64 << 10;
  void make_room(size_t n) {
    if (head_ < bytes_.size() / 2 && bytes_.size() + n <= bytes_.capacity()) return;
    bytes_.erase(bytes_.begin(), bytes_.begin() + ptrdiff_t(head_));
    head_ = 0;
  }
  ByteVec bytes_;
  size_t head_ = 0;
};

}  // namespace base
