#include "dns/wire/name.h"

#include <cstring>

namespace dns {

std::optional<Name> Name::from_text(std::string_view s) {
  if (!s.empty() && s.back() == '.') s.remove_suffix(1);
  Name n;
  if (s.empty()) return n;
  if (s.size() + 2 > kNameMax) return {};
  size_t at = 0;
  while (true) {
    size_t dot = s.find('.');
    std::string_view label = s.substr(0, dot);
    if (label.empty() || label.size() > kLabelMax) return {};
    n.b_[at++] = uint8_t(label.size());
    std::memcpy(&n.b_[at], label.data(), label.size());
    at += label.size();
    if (dot == std::string_view::npos) break;
    s.remove_prefix(dot + 1);
  }
  n.b_[at++] = 0;
  n.size_ = uint8_t(at);
  return n;
}

std::optional<Name> Name::from_wire(base::ByteView w) {
  size_t at = 0;
  while (at < w.size() && w[at] != 0) {
    if (w[at] > kLabelMax) return {};
    at += w[at] + size_t(1);
  }
  if (at >= w.size() || at + 1 != w.size() || w.size() > kNameMax) return {};
  Name n;
  std::memcpy(n.b_.data(), w.data(), w.size());
  n.size_ = uint8_t(w.size());
  return n;
}

bool Name::prepend(std::string_view label) {
  if (label.empty() || label.size() > kLabelMax || size_ + label.size() + 1 > kNameMax) return false;
  std::memmove(&b_[label.size() + 1], b_.data(), size_);
  b_[0] = uint8_t(label.size());
  std::memcpy(&b_[1], label.data(), label.size());
  size_ = uint8_t(size_ + label.size() + 1);
  return true;
}

void Name::make_lower() {
  for (size_t i = 0; i < size_; i++) b_[i] = lower(b_[i]);  // length octets are below 'A'
}

std::string Name::text() const {
  if (size_ == 1) return ".";
  std::string s;
  for (size_t at = 0; b_[at]; at += b_[at] + size_t(1)) {
    for (size_t i = 1; i <= b_[at]; i++) {
      uint8_t c = b_[at + i];
      if (c == '.' || c == '\\') s += {'\\', char(c)};
      else if (c > 32 && c < 127) s += char(c);
      else s += {'\\', char('0' + c / 100), char('0' + c / 10 % 10), char('0' + c % 10)};
    }
    s += '.';
  }
  return s;
}

bool equal_ignoring_case(base::ByteView a, base::ByteView b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); i++)
    if (lower(a[i]) != lower(b[i])) return false;
  return true;
}

bool read_name(base::ByteView m, size_t& at, Name& out) {
  std::array<uint8_t, kNameMax> b;
  size_t n = 0, p = at, end = 0, bound = at;
  while (true) {
    if (p >= m.size()) return false;
    uint8_t len = m[p];
    if (len >= 0xc0) {
      if (p + 1 >= m.size()) return false;
      size_t to = size_t(len & 0x3f) << 8 | m[p + 1];
      if (!end) end = p + 2;
      if (to >= bound) return false;  // strictly backwards: it must end
      p = bound = to;
      continue;
    }
    if (len > kLabelMax || n + len + 1 > kNameMax || p + len + 1 > m.size()) return false;
    std::memcpy(&b[n], &m[p], len + size_t(1));
    n += len + size_t(1);
    p += len + size_t(1);
    if (len == 0) break;
  }
  at = end ? end : p;
  auto name = Name::from_wire({b.data(), n});
  if (!name) return false;
  out = *name;
  return true;
}

bool skip_name(base::ByteView m, size_t& at) {
  while (at < m.size()) {
    uint8_t len = m[at];
    if (len == 0) return ++at, true;
    if (len >= 0xc0) return at += 2, at <= m.size();
    if (len > kLabelMax) return false;
    at += len + size_t(1);
  }
  return false;
}

Name reverse_name(base::ByteView a) {
  static const char hex[] = "0123456789abcdef";
  Name n = *Name::from_text(a.size() == 4 ? "in-addr.arpa" : "ip6.arpa");
  bool fits = true;
  for (uint8_t c : a) {
    if (a.size() == 4) {
      fits &= n.prepend(std::to_string(c));
    } else {
      fits &= n.prepend({&hex[c >> 4], 1});
      fits &= n.prepend({&hex[c & 15], 1});
    }
  }
  return fits ? n : Name();
}

}  // namespace dns
