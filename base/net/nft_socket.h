// A netfilter netlink socket (nf_tables, ctnetlink) for one request at a time: send, then read what the kernel answered while
// it worked (it answers before send returns). Internal to base/net.
//
// Closing one after a transaction waits until the kernel has freed what the transaction replaced, 5 to 15 ms: each thread keeps the
// last one whose answers were all read, for the next open() in the same network namespace.
#pragma once
#include <functional>
#include <string>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "base/core/unique_fd.h"

struct nlmsghdr;

namespace base::detail {

class NfSocket {
 public:
  static Result<NfSocket> open();
  NfSocket(NfSocket&&) = default;
  ~NfSocket();
  Result<void> send(ByteView);
  // Reads acknowledgements until none is left; the first refusal becomes an error whose place is where(sequence number).
  // (accept: an errno that counts as success, such as ENOENT for a deletion; each: gets what comes before them).
  Result<void> read_verdict(const std::function<std::string(uint32_t seq)>& where, int accept = 0,
                            const std::function<void(const nlmsghdr*)>& each = nullptr);
  // A dump request; fill() adds attributes, each() gets every message. type includes the subsystem.
  Result<void> dump(uint16_t type, uint8_t family, const std::function<void(nlmsghdr*)>& fill,
                    const std::function<void(const nlmsghdr*)>& each);

  // One request with one answer (not a dump); Code::not_found when the kernel knows no such thing.
  Result<void> ask(uint16_t type, uint8_t family, const std::function<void(nlmsghdr*)>& fill, const std::function<void(const nlmsghdr*)>& answer);

 private:
  NfSocket() = default;
  Result<void> send_request(uint16_t type, uint16_t flags, uint8_t family, const std::function<void(nlmsghdr*)>& fill);
  UniqueFd fd_;
  uint64_t netns_ = 0;    // 0: unknown
  bool is_read_ = false;  // nothing of the last request is left in it
};

// What an operator can do about an errno of netfilter or rtnetlink: "", or " (needs CAP_NET_ADMIN ...)".
std::string mend_of(int err);

}  // namespace base::detail
