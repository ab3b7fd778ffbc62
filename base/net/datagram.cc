#include "base/net/datagram.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <algorithm>
#include <vector>

#include "base/core/assert.h"
#include "base/core/log.h"
#include "base/net/socket.h"

namespace base {
namespace {

constexpr size_t kControlBytes = 192;  // pktinfo + tos + segment size, of either family, with room
struct alignas(cmsghdr) Control {
  uint8_t bytes[kControlBytes];
};

template <class T>
T payload(const cmsghdr* c) {
  T v{};
  std::memcpy(&v, CMSG_DATA(c), std::min(sizeof v, size_t(c->cmsg_len - CMSG_LEN(0))));
  return v;
}

void read_control(msghdr& m, Datagram& d) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      auto info = payload<in_pktinfo>(c);
      d.local = IpAddr::v4(reinterpret_cast<uint8_t*>(&info.ipi_addr));
      d.interface = uint32_t(info.ipi_ifindex);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
      auto info = payload<in6_pktinfo>(c);
      d.local = IpAddr::v6(info.ipi6_addr.s6_addr);
      d.interface = info.ipi6_ifindex;
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
      d.tos = payload<uint8_t>(c);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
      d.tos = uint8_t(payload<int>(c));
    } else if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
      d.segment = size_t(payload<int>(c));
    }
  }
}

class ControlWriter {
 public:
  ControlWriter(msghdr& m, Control& space) : m_(m), space_(space) {}
  ~ControlWriter() {
    m_.msg_control = used_ ? space_.bytes : nullptr;
    m_.msg_controllen = used_;
  }
  template <class T>
  void put(int level, int type, const T& v) {
    auto* c = reinterpret_cast<cmsghdr*>(space_.bytes + used_);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(sizeof v);
    std::memcpy(CMSG_DATA(c), &v, sizeof v);
    used_ += CMSG_SPACE(sizeof v);
  }

 private:
  msghdr& m_;
  Control& space_;
  size_t used_ = 0;
};

void put_source(ControlWriter& w, const IpAddr& source) {
  if (source.is_v4()) {
    in_pktinfo info{};
    std::memcpy(&info.ipi_spec_dst, source.bytes().data(), 4);
    w.put(IPPROTO_IP, IP_PKTINFO, info);
  } else {
    in6_pktinfo info{};
    std::memcpy(&info.ipi6_addr, source.bytes().data(), 16);
    w.put(IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
}

void write_control(msghdr& m, Control& space, const SendJob& j, bool segment) {
  ControlWriter w(m, space);
  if (j.source) put_source(w, *j.source);
  if (j.tos) j.to.ip.is_v4() ? w.put(IPPROTO_IP, IP_TOS, int(j.tos)) : w.put(IPPROTO_IPV6, IPV6_TCLASS, int(j.tos));
  if (segment) w.put(SOL_UDP, UDP_SEGMENT, uint16_t(j.segment));
}

}  // namespace

// ---- reading

struct DatagramReader::Kernel {
  size_t slot_bytes;
  std::unique_ptr<uint8_t[]> memory;  // not initialised, so that untouched pages are never resident
  std::vector<mmsghdr> messages;
  std::vector<iovec> pieces;
  std::vector<SockAddr> from;
  std::vector<Control> control;
  std::vector<Datagram> out;
};

DatagramReader::DatagramReader(size_t slots, size_t slot_bytes)
    : k_(new Kernel{slot_bytes, std::make_unique_for_overwrite<uint8_t[]>(slots * slot_bytes), std::vector<mmsghdr>(slots),
                    std::vector<iovec>(slots), std::vector<SockAddr>(slots), std::vector<Control>(slots), std::vector<Datagram>(slots)}) {
  for (size_t i = 0; i < slots; ++i) {
    k_->pieces[i] = {k_->memory.get() + i * slot_bytes, slot_bytes};
    msghdr& m = k_->messages[i].msg_hdr;
    m.msg_name = &k_->from[i].s;
    m.msg_iov = &k_->pieces[i];
    m.msg_iovlen = 1;
    m.msg_control = k_->control[i].bytes;
  }
}

DatagramReader::~DatagramReader() = default;

Result<std::span<Datagram>> DatagramReader::receive(int fd) {
  for (auto& m : k_->messages) {
    m.msg_hdr.msg_namelen = sizeof(sockaddr_storage);
    m.msg_hdr.msg_controllen = kControlBytes;
  }
  int n;
  for (int icmp = 0;; ++icmp) {  // each queued ICMP error fails one call
    n = ::recvmmsg(fd, k_->messages.data(), unsigned(k_->messages.size()), MSG_DONTWAIT, nullptr);
    if (n >= 0) break;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::span<Datagram>{};
    bool passing = errno == EINTR || errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH || errno == EMSGSIZE;
    if (!passing || icmp == 64) return fail_errno(errno, "recvmmsg");
  }
  for (size_t i = 0; i < size_t(n); ++i) {
    mmsghdr& m = k_->messages[i];
    Datagram& d = k_->out[i] = Datagram{};
    if (auto from = k_->from[i].ip_port()) d.from = *from;
    d.data = {k_->memory.get() + i * k_->slot_bytes, size_t(m.msg_len)};
    d.truncated = m.msg_hdr.msg_flags & MSG_TRUNC;
    read_control(m.msg_hdr, d);
    if (d.segment == 0) d.segment = d.data.size();
  }
  return std::span<Datagram>(k_->out.data(), size_t(n));
}

// ---- writing

struct DatagramWriter::Kernel {
  struct Batch {  // what one sendmmsg needs
    std::vector<mmsghdr> messages;
    std::vector<iovec> pieces;
    std::vector<SockAddr> to;
    std::vector<Control> control;
    explicit Batch(size_t n) : messages(n), pieces(n), to(n), control(n) {}
    void set(size_t i, const SendJob& j, ByteView data, bool segment) {
      to[i] = SockAddr(j.to);
      pieces[i] = {const_cast<uint8_t*>(data.data()), data.size()};
      msghdr& m = messages[i].msg_hdr;
      m = msghdr{};
      m.msg_name = &to[i].s;
      m.msg_namelen = to[i].len;
      m.msg_iov = &pieces[i];
      m.msg_iovlen = 1;
      write_control(m, control[i], j, segment);
    }
  };
  explicit Kernel(size_t slots) : jobs(slots), batch(slots), cut(kSegmentsMax) {}

  bool wants_cut(const SendJob& j) const { return !gso && j.segment && j.segment < j.data.size(); }
  void step(int fd, SendReport&);
  void send_cut(int fd, SendReport&);
  void refused(SendReport& r, int err) {
    ++r.refused;
    r.error = err;
    ++first;
  }

  std::vector<SendJob> jobs;
  size_t first = 0, last = 0;  // queued: jobs[first, last)
  size_t cut_done = 0;         // segments already sent of jobs[first], while it is cut here
  bool gso = true;
  Batch batch, cut;
};

// Sends the queue's head: as many whole jobs as the kernel takes at once, or one job cut here.
void DatagramWriter::Kernel::step(int fd, SendReport& r) {
  if (wants_cut(jobs[first])) return send_cut(fd, r);
  size_t n = 0;
  for (size_t i = first; i < last && !wants_cut(jobs[i]); ++i, ++n)
    batch.set(n, jobs[i], jobs[i].data, jobs[i].segment && jobs[i].segment < jobs[i].data.size());
  int sent = ::sendmmsg(fd, batch.messages.data(), unsigned(n), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent > 0) {
    r.jobs += size_t(sent);
    first += size_t(sent);
    return;
  }
  const SendJob& head = jobs[first];
  bool segmented = head.segment && head.segment < head.data.size();
  if (errno == EAGAIN || errno == ENOBUFS) {
    r.would_block = true;
  } else if (segmented && (errno == EIO || errno == EINVAL || errno == EOPNOTSUPP)) {
    gso = false;  // a device without checksum offload, or a kernel before 4.18
    EM_LOG(info, "datagram", "UDP segmentation offload is not available here ({}); packets are sent one by one",
           std::generic_category().message(errno));
  } else if (errno != EINTR) {
    refused(r, errno);
  }
}

void DatagramWriter::Kernel::send_cut(int fd, SendReport& r) {
  const SendJob& j = jobs[first];
  size_t total = (j.data.size() + j.segment - 1) / j.segment, n = 0;
  for (size_t s = cut_done; s < total && n < cut.messages.size(); ++s, ++n) {
    size_t at = s * j.segment;
    cut.set(n, j, j.data.subspan(at, std::min(j.segment, j.data.size() - at)), false);
  }
  int sent = ::sendmmsg(fd, cut.messages.data(), unsigned(n), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno == EAGAIN || errno == ENOBUFS) r.would_block = true;
    else if (errno != EINTR) cut_done = 0, refused(r, errno);
    return;
  }
  cut_done += size_t(sent);
  if (cut_done < total) return;
  cut_done = 0;
  ++first;
  ++r.jobs;
}

DatagramWriter::DatagramWriter(size_t slots) : k_(std::make_unique<Kernel>(slots)) {}
DatagramWriter::~DatagramWriter() = default;
bool DatagramWriter::full() const { return k_->last == k_->jobs.size(); }
size_t DatagramWriter::queued() const { return k_->last - k_->first; }
bool DatagramWriter::gso() const { return k_->gso; }
void DatagramWriter::disable_gso() { k_->gso = false; }
void DatagramWriter::clear() { k_->first = k_->last = k_->cut_done = 0; }

void DatagramWriter::add(const SendJob& j) {
  EM_ASSERT(!full());
  EM_ASSERT(j.data.size() <= kJobBytesMax && (!j.segment || j.data.size() <= j.segment * kSegmentsMax));
  k_->jobs[k_->last++] = j;
}

SendReport DatagramWriter::flush(int fd) {
  SendReport r;
  while (k_->first < k_->last && !r.would_block) k_->step(fd, r);
  if (k_->first == k_->last) clear();
  return r;
}

}  // namespace base
