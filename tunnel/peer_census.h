// PeerCensus: whose MeshNodes are there, and for how long one that is gone still counts. Absence is not revocation: a source that lost
// its objects must not tear a mesh apart. Pure; lists and a time in, the list to go by out.
//   one is gone          its node is still called for kGoneLife, by name and address; what it hinted of inner addresses is void at once
//   many are gone        more than a tenth and more than one within kBulkWindow: all of them stay as they were until they are back
//   revoked              out at once
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/core/time.h"
#include "tunnel/peer/peer_view.h"

namespace tunnel {

class PeerCensus {
 public:
  static constexpr base::Duration kGoneLife = std::chrono::minutes(10), kBulkWindow = std::chrono::minutes(1);

  // What the source says now; the answer is what counts.
  std::vector<PeerHint> take(std::vector<PeerHint> said, base::Instant now);
  // True: the answer has changed with time alone; take() it again with the same list.
  bool is_due(base::Instant now) const;
  size_t frozen() const;                                 // nodes that are known only because too many are gone
  size_t known_before() const { return known_before_; }  // the bulk that is frozen: how many there were

 private:
  struct Entry {
    PeerHint hint;
    std::optional<base::Instant> gone;  // since when
    bool is_frozen = false;
  };
  void freeze_bulk(base::Instant now);
  std::map<std::string, Entry> known_;
  size_t known_before_ = 0;
};

}  // namespace tunnel
