// KnownPeersFile: where the known peers (tunnel/path/known_peers.h) live: one file in the state folder, 0600, replaced as a whole.
// Written 100 ms after the first change and at most once a second, so that many handshakes are one write; tried again every 10 s while
// the disk refuses. A file that is damaged or of another version is ignored with one line in the log. Control loop only.
#pragma once
#include <memory>
#include <string>

#include "base/core/state_disk.h"
#include "base/loop/loop.h"
#include "tunnel/path/known_peers.h"

namespace tunnel {

class KnownPeersFile {
 public:
  // path empty: nothing is kept, and no disk is needed.
  KnownPeersFile(std::string path, base::StateDisk*, base::Loop&);
  ~KnownPeersFile() { flush(); }
  KnownPeers load() const;
  void save(const KnownPeers&);  // soon
  void flush();                  // now, if something is to be written

 private:
  std::string path_;
  base::StateDisk* disk_;
  base::Loop& loop_;
  std::unique_ptr<base::Timer> timer_;
  KnownPeers pending_;
  bool dirty_ = false;
  base::Instant written_{};
};

}  // namespace tunnel
