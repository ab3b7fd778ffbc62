// ListReader: takes the body of a list answer in any portions and hands out one item's text at a time, so that a page of any
// size costs the memory of its largest item. What stands around the items (kind, metadata) is kept: frame(). It only counts
// braces and quotes; whether an item is JSON is for JsonReader to say.
#pragma once
#include <functional>
#include <string>
#include <string_view>

#include "base/core/result.h"

namespace base::kube {

class ListReader {
 public:
  struct Hooks {
    std::function<void(std::string& item)> on_item;
    std::function<void(std::string why)> on_skipped;  // an item beyond its bound; the rest goes on
  };
  struct Bounds {
    size_t item_bytes, frame_bytes = 64 << 10, depth = 128;
  };
  ListReader(Bounds b, Hooks h) : bounds_(b), hooks_(std::move(h)) {}

  Result<void> feed(std::string_view);  // after an error nothing more
  bool complete() const { return complete_; }
  std::string& frame() { return frame_; }  // the list with "items":[]

 private:
  enum class Where { frame, items, item };
  void keep(std::string_view, size_t from, size_t to);
  void close(std::string_view, size_t& from, size_t at);
  void end_item();

  Bounds bounds_;
  Hooks hooks_;
  Where where_ = Where::frame;
  std::string frame_, item_, key_;  // key_: the last string at depth 1
  size_t depth_ = 0;
  bool in_string_ = false, escaped_ = false, in_key_ = false, skipping_ = false, complete_ = false, frame_full_ = false;
};

}  // namespace base::kube
