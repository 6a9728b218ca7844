package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"time"
)

// A usage is how much processor time was used. all is that of all programs,
// including what the hypervisor took. own is that of this program, of the
// processes, which are its contestants', and of the children of all these that
// have ended. Both are zero where the system does not tell.
type usage struct {
	at        time.Time
	all, own  time.Duration
	processes []int
}

const tick = 10 * time.Millisecond // Linux's unit for programs

func currentUsage(processes ...int) usage {
	u := usage{at: time.Now(), processes: processes}
	sum := func(fields [][]byte) (d time.Duration) {
		for _, f := range fields {
			n, _ := strconv.ParseInt(string(f), 10, 64)
			d += time.Duration(n) * tick
		}
		return d
	}
	stat, _ := os.ReadFile("/proc/stat")
	// cpu user nice system idle iowait irq softirq steal
	if f := bytes.Fields(stat); len(f) > 8 {
		u.all = sum(f[1:4]) + sum(f[6:9])
	}
	for _, pid := range append([]int{os.Getpid()}, processes...) {
		self, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		// The name, in brackets, can have spaces; utime, stime, cutime and cstime are the 12th to 15th behind it.
		if f := bytes.Fields(self[bytes.LastIndexByte(self, ')')+1:]); len(f) > 14 {
			u.own += sum(f[11:15])
		}
	}
	return u
}

// disturbed reports whether other programs used more than a twentieth of the
// machine since u, as far as ticks can tell.
func (u usage) disturbed() bool {
	now := currentUsage(u.processes...)
	others := (now.all - u.all) - (now.own - u.own)
	return others > 2*tick+now.at.Sub(u.at)*time.Duration(runtime.NumCPU())/20
}

// waitForQuiet waits until other programs leave the machine alone, at most as
// long as the lab still has patience.
func (l *lab) waitForQuiet() {
	for l.patience > 0 {
		u := currentUsage(l.processes...)
		time.Sleep(500 * time.Millisecond)
		l.patience -= 500 * time.Millisecond
		if !u.disturbed() {
			return
		}
	}
}
