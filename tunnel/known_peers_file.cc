#include "tunnel/known_peers_file.h"

#include <algorithm>

#include "base/core/file.h"
#include "base/core/log.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;
constexpr base::Duration kSoon = 100ms, kPause = 1s, kTryAgain = 10s;
}  // namespace

KnownPeersFile::KnownPeersFile(std::string path, base::StateDisk* disk, base::Loop& loop)
    : path_(std::move(path)), disk_(disk), loop_(loop), timer_(loop.timer([this] { flush(); })) {}

KnownPeers KnownPeersFile::load() const {
  if (path_.empty()) return {};
  auto bytes = base::read_file(path_, kKnownPeersBytesMax);
  if (!bytes && bytes.error().code == base::Code::not_found) return {};
  base::Result<KnownPeers> known = bytes ? KnownPeers::decode(base::as_bytes(*bytes)) : base::Result<KnownPeers>(tl::unexpected(bytes.error()));
  if (bytes) base::secure_zero(bytes->data(), bytes->size());
  if (known) return std::move(*known);
  EM_LOG(warn, "tunnel", "{}: {}; the list is ignored, peers are found by signalling until they were met again", path_, known.error().what);
  return {};
}

void KnownPeersFile::save(const KnownPeers& known) {
  if (path_.empty()) return;
  pending_ = known;
  if (std::exchange(dirty_, true)) return;
  base::Instant at = loop_.now() + kSoon;
  if (written_ != base::Instant{}) at = std::max(at, written_ + kPause);
  timer_->arm(at - loop_.now());
}

void KnownPeersFile::flush() {
  if (!dirty_) return;
  written_ = loop_.now();
  base::ByteVec bytes = pending_.encode();
  dirty_ = !disk_->write(path_, base::as_text(bytes));
  base::secure_zero(bytes.data(), bytes.size());
  if (dirty_) return timer_->arm(kTryAgain);
  pending_ = {};
  timer_->cancel();
}

}  // namespace tunnel
