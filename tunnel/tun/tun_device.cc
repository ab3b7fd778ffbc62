#include "tunnel/tun/tun_device.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cstring>

#include "base/core/log.h"
#include "base/net/socket.h"
#include "tunnel/tun/vnet_header.h"

namespace tunnel {
namespace {

using base::Code;

constexpr const char* kDevice = "/dev/net/tun";
constexpr unsigned kOffloadTcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
constexpr unsigned kOffloadUdp = 0x20 | 0x40;  // TUN_F_USO4, TUN_F_USO6: not in the headers of Debian 12

base::Result<ifreq> request_for(const std::string& name) {
  ifreq r{};
  if (name.empty() || name.size() >= sizeof r.ifr_name || name.find_first_of("/ %") != std::string::npos)
    return base::fail(Code::invalid, "tun device \"{}\": a name has 1 to {} characters, no slash, blank or percent sign", name,
                      sizeof r.ifr_name - 1);
  memcpy(r.ifr_name, name.data(), name.size());
  return r;
}

base::Result<base::UniqueFd> open_control() {
  base::UniqueFd fd(::open(kDevice, O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (fd) return fd;
  switch (errno) {
    case ENOENT:
      return base::fail(Code::unsupported, "{}: no such device; on a host: mkdir -p /dev/net && mknod {} c 10 200; in a container: "
                        "run with --device {}", kDevice, kDevice, kDevice);
    case ENODEV: case ENXIO: return base::fail(Code::unsupported, "{}: the kernel has no TUN driver; modprobe tun", kDevice);
    case EACCES: case EPERM:
      return base::fail(Code::denied, "{}: not permitted; run as root or with CAP_NET_ADMIN and access to the device", kDevice);
    default: return base::fail_errno(errno, kDevice);
  }
}

base::Error attach_failure(int err, const TunDevice::Config& c) {
  auto of = [&](Code code, const char* text) { return base::Error{code, fmt::format("tun device {}: {}", c.name, text)}; };
  switch (err) {
    case EPERM: case EACCES: return of(Code::denied, "not permitted; needs CAP_NET_ADMIN in this network namespace");
    case EBUSY: return of(Code::exists, "in use by another program; stop it, or choose another name (tunnel.device)");
    case EINVAL:
      return of(Code::exists, "the name is taken by an interface of another kind or with other queues; ip link del it, or choose "
                "another name (tunnel.device)");
    case E2BIG: return of(Code::limit, "the kernel allows no more queues; use fewer workers");
    default: return base::fail_errno(err, "tun device " + c.name).value();
  }
}

base::Result<base::UniqueFd> attach(const TunDevice::Config& c) {
  EM_TRY_ASSIGN(ifreq r, request_for(c.name));
  EM_TRY_ASSIGN(base::UniqueFd fd, open_control());
  r.ifr_flags = short(IFF_TUN | IFF_NO_PI | IFF_VNET_HDR | (c.queues > 1 ? IFF_MULTI_QUEUE : 0));
  if (ioctl(fd.get(), TUNSETIFF, &r) != 0) return tl::unexpected(attach_failure(errno, c));
  int header = kVnetBytes;
  if (ioctl(fd.get(), TUNSETVNETHDRSZ, &header) != 0 || ioctl(fd.get(), TUNSETPERSIST, c.persist ? 1 : 0) != 0)
    return base::fail_errno(errno, "tun device " + c.name);
  return fd;
}

TunOffloads set_offloads(int fd) {
  if (ioctl(fd, TUNSETOFFLOAD, kOffloadTcp | kOffloadUdp) == 0) return {true, true};
  if (ioctl(fd, TUNSETOFFLOAD, kOffloadTcp) == 0) return {true, false};
  ioctl(fd, TUNSETOFFLOAD, 0);
  return {};
}

// No link-local address of the kernel's own: nothing speaks on this link but what we route to it. Where /proc/sys cannot be
// written the address does no harm; the guard drops what uses it.
void without_link_local(const std::string& name) {
  base::UniqueFd f(::open(("/proc/sys/net/ipv6/conf/" + name + "/addr_gen_mode").c_str(), O_WRONLY | O_CLOEXEC));
  if (f) (void)!::write(f.get(), "1", 1);
}

base::Result<void> bring_up(const TunDevice::Config& c) {
  without_link_local(c.name);
  EM_TRY_ASSIGN(ifreq r, request_for(c.name));
  EM_TRY_ASSIGN(base::UniqueFd any, base::udp_socket({base::IpAddr(), 0}));  // interface ioctls go through a socket of any kind
  r.ifr_mtu = c.mtu;
  if (ioctl(any.get(), SIOCSIFMTU, &r) != 0) return tl::unexpected(attach_failure(errno, c));
  if (ioctl(any.get(), SIOCGIFFLAGS, &r) != 0) return base::fail_errno(errno, fmt::format("tun device {}: flags", c.name));
  r.ifr_flags = short(r.ifr_flags | IFF_UP);
  if (ioctl(any.get(), SIOCSIFFLAGS, &r) != 0) return base::fail_errno(errno, fmt::format("tun device {}: set up", c.name));
  return {};
}

}  // namespace

base::Result<TunDevice> TunDevice::open(const Config& c, base::SocketStore& store) {
  TunDevice d;
  d.name_ = c.name;
  for (size_t i = 0; i < std::max<size_t>(c.queues, 1); ++i) {
    EM_TRY_ASSIGN(base::UniqueFd fd, store.acquire("tun-" + std::to_string(i), [&] { return attach(c); }));
    d.offloads_ = set_offloads(fd.get());
    d.queues_.push_back(std::move(fd));
  }
  if (!d.offloads_.tcp) EM_LOG(warn, "tunnel", "tun device {}: the kernel offers no segmentation offload; expect half the speed", c.name);
  EM_TRY(bring_up(c));
  return d;
}

base::Result<void> remove_tun(const std::string& name) {
  for (int more = 2;; --more) {  // there is no later to try it in
    if (if_nametoindex(name.c_str()) == 0 && errno == ENODEV) return {};
    auto fd = attach({.name = name, .persist = false});
    if (fd) return {};
    if (more == 0) return tl::unexpected(fd.error());
  }
}

}  // namespace tunnel
