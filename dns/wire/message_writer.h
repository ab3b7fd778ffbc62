// MessageWriter: renders records behind a question, with name compression (RFC 1035 §4.1.4), into a buffer it owns.
// Used when objects change and when answers are composed from several sources; serving copies what it made.
#pragma once
#include <string>

#include "dns/wire/response.h"

namespace dns {

class MessageWriter {
 public:
  // name: what the answers will be asked under. The body may grow to what fits one message of `limit` octets.
  explicit MessageWriter(const Name& name, size_t limit = kMessageMax);

  // Each adds one record to the section that is open; false: it did not fit and nothing was written.
  bool add(const Name& owner, uint16_t type, uint32_t ttl, base::ByteView rdata);
  bool add_name(const Name& owner, uint16_t type, uint32_t ttl, const Name& target);  // CNAME, NS, PTR
  bool add_srv(const Name& owner, uint32_t ttl, uint16_t weight, uint16_t port, const Name& target);
  bool add_soa(const Name& zone, uint32_t ttl, uint32_t serial);  // ns.dns.<zone>, hostmaster.<zone>, minimum = ttl
  void authority() { section_ = 1; }
  void additional() { section_ = 2; }

  BodyView body() const;  // valid while the writer lives and is not written to
  base::ByteVec take();   // the octets of body()
  bool full() const { return full_; }

 private:
  struct Mark { size_t size, known; };
  void put_name(const Name&, bool compress);
  size_t known_suffix(base::ByteView suffix, size_t among) const;
  size_t begin(const Name& owner, uint16_t type, uint32_t ttl);
  bool end(Mark, size_t rdlength_at);
  bool matches(size_t at, base::ByteView suffix) const;

  base::ByteVec m_;  // a whole message: 12 empty octets, the question, then records
  std::vector<uint16_t> known_;  // where names start that later ones may point to
  size_t limit_, start_;
  uint16_t counts_[3] = {0, 0, 0};
  int section_ = 0;
  bool full_ = false;
};

}  // namespace dns
