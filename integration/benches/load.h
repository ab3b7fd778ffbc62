// What the load programs of this folder have in common.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

using Clock = std::chrono::steady_clock;

inline double now_ms() { return std::chrono::duration<double, std::milli>(Clock::now().time_since_epoch()).count(); }

[[noreturn]] inline void die(const char* what) {
  perror(what);
  exit(1);
}

// Of arguments of the command line; what is no address ends the program.
inline sockaddr_in address(const char* ip, const char* port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(uint16_t(atoi(port)));
  if (inet_pton(AF_INET, ip, &a.sin_addr) == 1) return a;
  fprintf(stderr, "%s is not an IPv4 address\n", ip);
  exit(2);
}

// Of this process so far.
inline double cpu_seconds() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  return double(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + double(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

// A DNS query for the name's IPv4 address, recursion desired; its first two bytes are the id.
inline std::string dns_query(const char* name) {
  std::string q("\0\0\x01\0\0\x01\0\0\0\0\0\0", 12);
  for (const char *p = name, *dot; *p; p = *dot ? dot + 1 : dot) {
    dot = strchr(p, '.');
    if (!dot) dot = p + strlen(p);
    q.push_back(char(dot - p));
    q.append(p, size_t(dot - p));
  }
  return q + std::string("\0\0\x01\0\x01", 5);
}
