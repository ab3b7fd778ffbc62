#include "base/kube/list_reader.h"

namespace base::kube {
namespace {

constexpr size_t kKeyBytes = 32;  // "items" is the only one that matters

// The next byte that has a meaning in that state.
size_t next_mark(std::string_view s, size_t at, bool in_string) {
  if (in_string) {
    while (at < s.size() && s[at] != '"' && s[at] != '\\') ++at;
  } else {
    while (at < s.size() && s[at] != '"' && s[at] != '{' && s[at] != '}' && s[at] != '[' && s[at] != ']') ++at;
  }
  return at;
}

bool only_separators(std::string_view s) { return s.find_first_not_of(" \t\r\n,") == s.npos; }

}  // namespace

void ListReader::keep(std::string_view s, size_t from, size_t to) {
  if (from >= to) return;
  std::string_view piece = s.substr(from, to - from);
  if (in_key_ && key_.size() <= kKeyBytes) key_.append(piece.substr(0, kKeyBytes));
  if (where_ == Where::frame) {
    if (frame_.size() + piece.size() > bounds_.frame_bytes) frame_full_ = true;
    else frame_.append(piece);
  } else if (where_ == Where::item && !skipping_) {
    if (item_.size() + piece.size() <= bounds_.item_bytes) return void(item_.append(piece));
    skipping_ = true;
    item_ = std::string();
  }
}

Result<void> ListReader::feed(std::string_view s) {
  size_t from = 0;  // not yet kept
  for (size_t at = 0; at < s.size() && !complete_;) {
    if (escaped_) {
      escaped_ = false;
      ++at;
      continue;
    }
    const size_t mark = next_mark(s, at, in_string_);
    if (where_ == Where::items && !only_separators(s.substr(from, mark - from))) return fail(Code::invalid, "items: something that is no object");
    if (mark == s.size()) break;
    const char c = s[mark];
    at = mark + 1;
    if (c == '\\') {
      escaped_ = true;
      continue;
    }
    if (c == '"') {
      if (where_ == Where::items) return fail(Code::invalid, "items: a string among the objects");
      if (in_string_) keep(s, from, mark), in_key_ = false, from = mark;
      in_string_ = !in_string_;
      if (in_string_ && depth_ == 1) {
        keep(s, from, at);
        from = at;
        key_.clear();
        in_key_ = true;
      }
      continue;
    }
    const bool opens = c == '{' || c == '[';
    if (opens && where_ == Where::items) {
      if (c != '{') return fail(Code::invalid, "items: a list among the objects");
      where_ = Where::item;
      item_.clear();
      skipping_ = false;
      from = mark;
    }
    if (opens) {
      if (depth_ == 0 && c != '{') return fail(Code::invalid, "not a list object");
      if (++depth_ > bounds_.depth) return fail(Code::limit, "deeper than {} levels", bounds_.depth);
      if (where_ == Where::frame && depth_ == 2 && c == '[' && key_ == "items") {
        keep(s, from, at);
        where_ = Where::items;
        from = at;
      }
      continue;
    }
    if (depth_ == 0) return fail(Code::invalid, "not a list object");
    --depth_;
    close(s, from, at);
  }
  if (where_ != Where::items) keep(s, from, s.size());
  if (frame_full_) return fail(Code::limit, "more than {} bytes around the items", bounds_.frame_bytes);
  return {};
}

void ListReader::close(std::string_view s, size_t& from, size_t at) {
  if (where_ == Where::item && depth_ == 2) {
    keep(s, from, at);
    from = at;
    end_item();
  } else if (where_ == Where::items) {
    where_ = Where::frame;
    from = at - 1;
    key_.clear();
  } else if (depth_ == 0) {
    keep(s, from, at);
    from = at;
    complete_ = true;
  }
}

void ListReader::end_item() {
  where_ = Where::items;
  if (skipping_) hooks_.on_skipped(fmt::format("an object of more than {} bytes", bounds_.item_bytes));
  else hooks_.on_item(item_);
}

}  // namespace base::kube
