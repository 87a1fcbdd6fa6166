// A client of the streaming server made of k8s.io/client-go, as kubectl, crictl and critest use it.
//
//	client exec --url URL --transport spdy|websocket [--protocol v4.channel.k8s.io]... [--stdin] [--stdout] [--stderr] [--tty] [--sizes 80x24,100x30] [--ca FILE]
//	client forward --url URL --transport spdy|websocket --ports 0:80,0:81 [--ca FILE]
//
// exec copies its own standard streams and exits with the process's status, 125 for another error.
// forward prints "LOCAL REMOTE" for each port once it listens, and ends with its standard input.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	restclient "k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
)

type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

type sizes struct{ left []remotecommand.TerminalSize }

func (s *sizes) Next() *remotecommand.TerminalSize {
	if len(s.left) == 0 {
		return nil
	}
	next := s.left[0]
	s.left = s.left[1:]
	return &next
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "client:", err)
	os.Exit(125)
}

func main() {
	verb := os.Args[1]
	flags := flag.NewFlagSet(verb, flag.ExitOnError)
	address := flags.String("url", "", "")
	transport := flags.String("transport", "spdy", "")
	stdin := flags.Bool("stdin", false, "")
	stdout := flags.Bool("stdout", false, "")
	stderr := flags.Bool("stderr", false, "")
	tty := flags.Bool("tty", false, "")
	resizes := flags.String("sizes", "", "")
	ports := flags.String("ports", "", "")
	ca := flags.String("ca", "", "")
	var protocols list
	flags.Var(&protocols, "protocol", "")
	flags.Parse(os.Args[2:])

	target, err := url.Parse(*address)
	if err != nil {
		fail(err)
	}
	config := &restclient.Config{Host: target.Host, TLSClientConfig: restclient.TLSClientConfig{CAFile: *ca}}
	if verb == "forward" {
		forward(config, target, *transport, strings.Split(*ports, ","))
		return
	}

	executor, err := newExecutor(config, target, *transport, protocols)
	if err != nil {
		fail(err)
	}
	options := remotecommand.StreamOptions{Tty: *tty}
	if *stdin {
		options.Stdin = os.Stdin
	}
	if *stdout {
		options.Stdout = os.Stdout
	}
	if *stderr {
		options.Stderr = os.Stderr
	}
	if *resizes != "" {
		queue := &sizes{}
		for _, text := range strings.Split(*resizes, ",") {
			var size remotecommand.TerminalSize
			fmt.Sscanf(text, "%dx%d", &size.Width, &size.Height)
			queue.left = append(queue.left, size)
		}
		options.TerminalSizeQueue = queue
	}
	err = executor.StreamWithContext(context.Background(), options)
	var exit exec.CodeExitError
	if errors.As(err, &exit) {
		os.Exit(exit.Code)
	}
	if err != nil {
		fail(err)
	}
}

func newExecutor(config *restclient.Config, target *url.URL, transport string, protocols []string) (remotecommand.Executor, error) {
	if transport == "websocket" {
		return remotecommand.NewWebSocketExecutorForProtocols(config, "GET", target.String(), orDefault(protocols, "v5.channel.k8s.io")...)
	}
	roundTripper, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewSPDYExecutorForProtocols(roundTripper, upgrader, "POST", target, orDefault(protocols, "v4.channel.k8s.io")...)
}

func orDefault(protocols []string, fallback string) []string {
	if len(protocols) == 0 {
		return []string{fallback}
	}
	return protocols
}

func forward(config *restclient.Config, target *url.URL, transport string, ports []string) {
	roundTripper, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		fail(err)
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: roundTripper}, "POST", target)
	if transport == "websocket" {
		if dialer, err = portforward.NewSPDYOverWebsocketDialer(target, config); err != nil {
			fail(err)
		}
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, ports, stop, ready, io.Discard, os.Stderr)
	if err != nil {
		fail(err)
	}
	go func() {
		<-ready
		forwarded, _ := forwarder.GetPorts()
		for _, port := range forwarded {
			fmt.Println(port.Local, port.Remote)
		}
		io.Copy(io.Discard, os.Stdin)
		close(stop)
	}()
	if err := forwarder.ForwardPorts(); err != nil {
		fail(err)
	}
}
