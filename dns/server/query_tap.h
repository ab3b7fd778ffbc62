// QueryTap: one query of every so many, and its answer, for people (log lines) and for programs (dnstap: CLIENT_QUERY and CLIENT_RESPONSE
// messages as a Frame Stream). Queries that are not sampled cost one decrement; those that are may allocate. One loop.
#pragma once
#include <memory>
#include <string>

#include "base/core/time.h"
#include "base/net/addr.h"
#include "dns/server/frame_stream.h"
#include "dns/wire/query.h"

namespace dns {

struct TapConfig {
  uint32_t log_every = 0;             // 0: no log
  uint32_t tap_every = 1;             // with a socket or a file
  std::string socket, file, identity;
  bool operator==(const TapConfig&) const = default;
};

class QueryTap {
 public:
  static std::unique_ptr<QueryTap> make(const TapConfig&, base::Metrics&);  // null: nothing is asked for

  bool due() {  // of one query: whether query() and answer() are to be called
    const bool log = log_left_ && --log_left_ == 0, tap = tap_left_ && --tap_left_ == 0;
    if (!log && !tap) return false;
    return take(log, tap), true;
  }
  // What was due is told by a value, because an answer may come later.
  struct Sample {
    bool log = false, tap = false;
    base::IpPort client;
    bool tcp = false;
    int64_t asked_ns = 0;  // wall clock
    explicit operator bool() const { return log || tap; }
  };
  Sample query(base::ByteView message, const base::IpPort& client, bool tcp);
  void answer(const Sample&, const Query&, base::ByteView reply);

 private:
  QueryTap(const TapConfig&, base::Metrics&);
  void take(bool log, bool tap);
  TapConfig config_;
  uint32_t log_left_, tap_left_;
  bool log_now_ = false, tap_now_ = false;
  std::unique_ptr<FrameStream> stream_;
};

// One Dnstap message (protobuf); answered_ns 0: a CLIENT_QUERY, else a CLIENT_RESPONSE.
base::ByteVec dnstap_frame(const std::string& identity, const QueryTap::Sample&, base::ByteView message, int64_t answered_ns);

}  // namespace dns
