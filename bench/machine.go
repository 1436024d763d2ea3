package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Sizes of the file systems; sparse.
const (
	imageSize = 4 << 30
	largeSize = 16 << 30
)

// freshFileSystem mounts a new ext4 image, or makes a plain folder for a user
// who may not mount.
func freshFileSystem(ctx context.Context, size int64) (dir string, unmount func(), err error) {
	base, err := os.MkdirTemp("", "postern-bench")
	if err != nil {
		return "", nil, err
	}
	if os.Geteuid() != 0 {
		return base, func() { os.RemoveAll(base) }, nil
	}
	image, dir := filepath.Join(base, "image"), filepath.Join(base, "fs")
	for _, f := range []func() error{
		func() error { return os.WriteFile(image, nil, 0o600) },
		func() error { return os.Truncate(image, size) },
		func() error { return os.Mkdir(dir, 0o755) },
		func() error { return command(ctx, "mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", image) },
		func() error { return command(ctx, "mount", "-o", "loop", image, dir) },
		func() error { return os.Chmod(base, 0o755) },
	} {
		if err := f(); err != nil {
			os.RemoveAll(base)
			return "", nil, err
		}
	}
	return dir, func() {
		for range 50 {
			if command(context.Background(), "umount", dir) == nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		os.RemoveAll(base)
	}, nil
}

func command(ctx context.Context, name string, args ...string) error {
	if out, err := exec.CommandContext(ctx, name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// process is a running server: a process with its descendants.
type process struct {
	pid  int
	stop func()
}

// start runs a server in a process group of its own.
func start(ctx context.Context, dir, name string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(dir, "server.log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "MAIL_CONFIG="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	return &process{pid: cmd.Process.Pid, stop: func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(5 * time.Second):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-done
	}}, nil
}

// tree lists the process and its descendants.
func (p *process) tree() []int {
	pids := []int{p.pid}
	for i := 0; i < len(pids); i++ {
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		for _, name := range tasks {
			b, _ := os.ReadFile(name)
			for _, f := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(f); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	return pids
}

// cpu is the time that the process, its descendants and those that have ended
// have used, user and system. A process that ends meanwhile may be missed.
func (p *process) cpu() time.Duration {
	var ticks int64
	for _, pid := range p.tree() {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest) // from the state on: utime is the 12th
		for i := 11; i < 15 && i < len(fields); i++ {
			n, _ := strconv.ParseInt(fields[i], 10, 64)
			ticks += n
		}
	}
	return time.Duration(ticks) * (time.Second / 100) // USER_HZ
}

// memory is what the processes hold, shared pages in proportion (PSS), in KiB.
func (p *process) memory() int64 { return p.sum("smaps_rollup", "Pss:") }

// peak is the sum of the largest resident sizes so far, in KiB.
func (p *process) peak() int64 { return p.sum("status", "VmHWM:") }

func (p *process) sum(file, label string) (kib int64) {
	for _, pid := range p.tree() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		if _, rest, ok := strings.Cut(string(b), label); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			kib += n
		}
	}
	return kib
}

// waitGreeting waits until the server greets.
func waitGreeting(ctx context.Context, port string) error {
	var last error
	for range 200 {
		c, err := net.DialTimeout("tcp", "127.0.0.1:"+port, time.Second)
		if err == nil {
			_ = c.SetDeadline(time.Now().Add(3 * time.Second))
			_, err = c.Read(make([]byte, 1))
			c.Close()
			if err == nil {
				return nil
			}
		}
		last = err
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("no greeting: %w", last)
}
