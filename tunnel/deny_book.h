// DenyBook: the deny list in force at this node and where it lives. It comes from the operator's file (followed: looked at once
// a second) and from peers; the newest correctly signed one counts, is kept in the state folder and survives restarts, so that
// neither an old file nor an old peer brings a denied node back. Control loop only.
#pragma once
#include <string>
#include <vector>

#include "base/core/state_disk.h"
#include "base/net/deny_list.h"

namespace tunnel {

class DenyBook {
 public:
  struct Config {
    std::string file;       // the operator's; empty: none
    std::string state_dir;  // empty: nothing is kept
    std::vector<base::ByteVec> ca_certs;
    std::string trust_domain;
    base::StateDisk* disk = nullptr;  // needed with a state_dir
  };
  DenyBook() = default;
  // A file that cannot be read or is not signed is an error; no file is fine. What was kept and is damaged is ignored with a warning.
  static base::Result<DenyBook> open(Config);

  const base::DenyList& list() const { return list_; }
  // True: a newer list was taken. follow(): only if the operator's file changed since it was last looked at. What is wrong with
  // a list is logged for the file, returned for a peer's.
  bool follow();  // also tries again to keep a list that could not be written
  bool reload();
  base::Result<bool> take(std::string_view text);

 private:
  struct Stamp {  // changes whenever the file does
    int64_t seconds = 0, nanoseconds = 0, bytes = -1;
    uint64_t inode = 0;
    bool operator==(const Stamp&) const = default;
  };
  static Stamp stamp_of(const std::string& path);
  base::Result<bool> adopt(base::DenyList);
  void keep();
  std::string kept_path() const { return config_.state_dir + "/deny.json"; }

  Config config_;
  base::DenyList list_;
  Stamp seen_;
  bool kept_ = true;        // the list on disk is the one in force
  int looks_until_try_ = 0;  // follow() is called about once a second
};

}  // namespace tunnel
