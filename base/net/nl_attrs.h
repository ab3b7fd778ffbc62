// Ranges over netlink attributes (libmnl's loop macros are C only): for (const nlattr* a : nested(x)). Internal to base/net.
#pragma once
#include <libmnl/libmnl.h>

namespace base::detail {

struct AttrIterator {
  const nlattr* at;
  const char* end;
  const nlattr* operator*() const { return at; }
  AttrIterator& operator++() { at = mnl_attr_next(at); return *this; }
  bool operator!=(int) const { return mnl_attr_ok(at, int(end - reinterpret_cast<const char*>(at))); }
};

struct AttrRange {
  const void* first;
  const void* last;
  AttrIterator begin() const { return {static_cast<const nlattr*>(first), static_cast<const char*>(last)}; }
  int end() const { return 0; }
};

// The attributes behind a message's fixed part of `fixed` bytes.
inline AttrRange attrs(const nlmsghdr* h, size_t fixed) {
  return {mnl_nlmsg_get_payload_offset(h, fixed), mnl_nlmsg_get_payload_tail(h)};
}
inline AttrRange nested(const nlattr* a) {
  auto* p = static_cast<const char*>(mnl_attr_get_payload(a));
  return {p, p + mnl_attr_get_payload_len(a)};
}

}  // namespace base::detail
