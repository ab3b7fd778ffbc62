// Dialect: how queries and answers stand on one connection, without I/O. A query goes out under a ticket, and its answer is told by it.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/core/result.h"
#include "base/core/time.h"
#include "base/net/buffer.h"

namespace dns {

class Dialect {
 public:
  struct Answer {
    uint16_t ticket = 0;
    base::ByteVec message;  // empty: refused
  };
  virtual ~Dialect() = default;
  // An error: not now, on this connection.
  virtual base::Result<void> ask(uint16_t ticket, base::ByteVec query) = 0;
  // Takes what is whole. After an error the connection is of no use.
  virtual base::Result<void> feed(base::Buffer& in, base::Instant now, std::vector<Answer>&) = 0;
  virtual base::ByteVec output() = 0;
  virtual bool is_closing() const { return false; }  // the server takes no more queries here
};

std::unique_ptr<Dialect> make_dot();  // two octets of length, the ticket is the id (RFC 7858 §3.3)
std::unique_ptr<Dialect> make_doh(const std::string& authority, const std::string& path);  // POST, one stream each, id 0

// Fills the query up to a multiple of 128 octets (RFC 8467 §4.1). It must end in an OPT without options, as write_query() makes it.
void pad_query(base::ByteVec&);

}  // namespace dns
