/* raw.c: what a network of namespaces moves when nobody cares what arrives. The limit that multicast.py compares with.
 *   raw recv ADDRESS              waits for a group, prints the bytes it got and the seconds from the first to the last
 *   raw send ADDRESS BYTES SIZE   sends datagrams of SIZE bytes to it over the interface with that address, 16 for a call (UDP GSO)
 * The receiver takes 64 datagrams at a time and naps half a millisecond when there are fewer: to be woken for each costs more than the datagram. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
enum { PORT = 7700, BATCH = 64, LARGEST = 9216, AT_ONCE = 65000 };
#define GROUP "239.77.0.1"
#define END "the end"

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void set(int fd, int level, int option, int value) {
    if (setsockopt(fd, level, option, &value, sizeof value)) die("setsockopt");
}

static void receive(int fd, struct in_addr interface, struct sockaddr_in group) {
    static char memory[BATCH][LARGEST];
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH] = {0};
    struct ip_mreq membership = {.imr_multiaddr = group.sin_addr, .imr_interface = interface};
    double first = 0, last = 0;
    long long bytes = 0;
    set(fd, SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20);
    if (bind(fd, (struct sockaddr *)&group, sizeof group)) die("bind");
    if (setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership, sizeof membership)) die("join");
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){memory[i], LARGEST};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    for (;;) {
        int came = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < came; i++) {
            if (messages[i].msg_len == sizeof END && !memcmp(memory[i], END, sizeof END)) {
                printf("%lld %.6f\n", bytes, last - first);
                return;
            }
            bytes += messages[i].msg_len;
        }
        if (came > 0) {
            last = now();
            if (!first) first = last;
        }
        if (came < BATCH) usleep(500);
    }
}

static void send_all(int fd, struct in_addr interface, struct sockaddr_in group, long long bytes, int size) {
    static char memory[AT_ONCE];
    int datagrams = AT_ONCE / size < 16 ? AT_ONCE / size : 16;
    set(fd, SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20);
    set(fd, IPPROTO_UDP, UDP_SEGMENT, size);
    if (setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &interface, sizeof interface)) die("interface");
    if (connect(fd, (struct sockaddr *)&group, sizeof group)) die("connect");
    while (bytes > 0) {
        ssize_t sent = send(fd, memory, (size_t)datagrams * size, 0);
        if (sent > 0) bytes -= sent;
        else if (errno != ENOBUFS && errno != EAGAIN) die("send");
    }
    for (int i = 0; i < 50; i++) {
        usleep(20000);
        send(fd, END, sizeof END, 0);
    }
}

int main(int argc, char **argv) {
    struct sockaddr_in group = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    struct in_addr interface;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (argc < 3 || fd < 0 || !inet_aton(argv[2], &interface) || !inet_aton(GROUP, &group.sin_addr)) return 2;
    if (!strcmp(argv[1], "recv")) receive(fd, interface, group);
    else if (argc == 5) send_all(fd, interface, group, atoll(argv[3]), atoi(argv[4]));
    else return 2;
    return 0;
}
