// lookup NAME: the addresses getaddrinfo gives, one a line. For musl, whose resolver asks for A and AAAA at once.
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int argc, char** argv) {
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *all = 0;
  int error = getaddrinfo(argc > 1 ? argv[1] : "", 0, &hints, &all);
  if (error) return fprintf(stderr, "%s\n", gai_strerror(error)), 2;
  for (struct addrinfo* a = all; a; a = a->ai_next) {
    char text[INET6_ADDRSTRLEN];
    const void* ip = a->ai_family == AF_INET ? (void*)&((struct sockaddr_in*)a->ai_addr)->sin_addr : (void*)&((struct sockaddr_in6*)a->ai_addr)->sin6_addr;
    puts(inet_ntop(a->ai_family, ip, text, sizeof text));
  }
  return 0;
}
