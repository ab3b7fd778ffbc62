// enter NETNS ETC PROGRAM ARGUMENT...: runs a program in a namespace of the lab: its network, the /sys that belongs to it, and over the
// machine's /etc/resolv.conf, hosts and nsswitch.conf those that folder ETC ("": none) has. What `ip netns exec` and a shell with
// three mounts do as five programs, as one: a lab enters namespaces hundreds of times.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

static int failed(const std::string& what) {
  fprintf(stderr, "enter: %s: %s\n", what.c_str(), strerror(errno));
  return 125;
}

int main(int argc, char** argv) {
  if (argc < 4) return fputs("enter NETNS ETC PROGRAM ARGUMENT...\n", stderr), 2;
  const std::string net = std::string("/run/netns/") + argv[1], etc = argv[2];
  const int fd = open(net.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, CLONE_NEWNET)) return failed(net);
  if (unshare(CLONE_NEWNS) || mount("", "/", "none", MS_SLAVE | MS_REC, nullptr)) return failed("a mount namespace");
  struct statvfs sys {};
  unsigned long flags = 0;  // where /sys may not be taken away it is read-only, and stays so
  if (umount2("/sys", MNT_DETACH) && !statvfs("/sys", &sys) && (sys.f_flag & ST_RDONLY)) flags = MS_RDONLY;
  if (mount(argv[1], "/sys", "sysfs", flags, nullptr)) return failed("/sys");
  for (const char* name : {"resolv.conf", "hosts", "nsswitch.conf"}) {
    const std::string own = etc + "/" + name, machines = std::string("/etc/") + name;
    if (etc.empty() || access(own.c_str(), F_OK) || access(machines.c_str(), F_OK)) continue;
    if (mount(own.c_str(), machines.c_str(), nullptr, MS_BIND, nullptr)) return failed(machines);
  }
  execvp(argv[3], argv + 3);
  return failed(argv[3]);
}
