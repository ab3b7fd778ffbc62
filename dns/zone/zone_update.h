// What the builder tells the indexes after a change.
#pragma once
#include "dns/zone/piece.h"
#include "dns/zone/zone_config.h"

namespace dns {

struct ZoneUpdate {
  bool whole = false;                // replaces everything instead of adding to it
  std::vector<std::string> removed;  // base names (keys) of pieces that are gone
  std::vector<Piece> put;            // new, or in place of the one with the same base
  base::kube::ServiceTablePtr table;  // for namespaces, which have no records of their own
  uint32_t serial = 0;
};

}  // namespace dns
