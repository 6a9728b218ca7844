package kms

import (
	"errors"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/smithy-go"
)

const (
	// cooldown is how long a Region that failed is asked last.
	cooldown = 30 * time.Second
	// silence is how long a call must have been without an answer for the caller's
	// deadline to count as a failure of the Region, if Options.HedgeAfter does not
	// say so.
	silence = time.Second
	// maxRegions bounds the Regions that are remembered: messages name them.
	maxRegions = 100
	// maxAhead is how many of a message's entries pick looks at: a hostile message can
	// have 65,535, all in Regions that failed.
	maxAhead = 100
)

// outages is what one provider knows of the Regions that it asks to decrypt.
type outages struct {
	mu      sync.Mutex
	regions map[string]*health
}

// health is that of a Region.
type health struct {
	answered time.Time // when it last did
	until    time.Time // when its cooldown ends; zero: it is up
	probing  bool      // one message asks it after the cooldown
}

// A verdict is what a call says of its Region.
type verdict int

const (
	nothing  verdict = iota
	answered         // whatever the answer
	failed           // time-out, no connection, or a server error
	silent           // no answer until nobody waited for it any more
)

// pick returns the index of the entry to ask next, and whether that is the one call
// that tries a Region after its cooldown. It passes over Regions that failed until
// only those are left, and over busy ones. It looks at the first maxAhead entries; the
// index is -1 if all of these are busy.
func (o *outages) pick(left []*entry, busy []string) (index int, probe bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	index = -1
	for i, e := range left[:min(len(left), maxAhead)] {
		if slices.Contains(busy, e.key.Region) {
			continue
		}
		h := o.regions[e.key.Region]
		switch {
		case h == nil || h.until.IsZero():
			return i, false
		case !h.probing && !now.Before(h.until):
			h.probing = true
			return i, true
		case index < 0:
			index = i
		}
	}
	return index, false
}

// learn takes note of how the call for an entry ended.
func (o *outages) learn(e *entry, v verdict) {
	o.mu.Lock()
	defer o.mu.Unlock()
	h := o.regions[e.key.Region]
	if h == nil {
		if v == nothing {
			return
		}
		h = o.add(e.key.Region)
	}
	if e.probe {
		h.probing = false
	}
	now := time.Now()
	switch {
	case v == answered:
		h.answered, h.until = now, time.Time{}
	case v == failed, v == silent && !h.answered.After(e.begun): // else it was this call alone
		h.until = now.Add(cooldown)
	}
}

// add makes an entry for a Region. If there are too many, it forgets the one that
// answered the longest ago: hostile messages name Regions that never do.
func (o *outages) add(region string) *health {
	if len(o.regions) >= maxRegions {
		var oldest string
		for name, h := range o.regions {
			if oldest == "" || h.answered.Before(o.regions[oldest].answered) {
				oldest = name
			}
		}
		delete(o.regions, oldest)
	}
	h := &health{}
	o.regions[region] = h
	return h
}

// isOutage reports whether the error of a call is one of the Region and not of the
// key or the request: it did not answer in time or could not be reached, or a server
// failed. Throttling is none: a Region that throttles works, and the next one would
// have to carry all of its load at once.
func isOutage(err error) bool {
	var network net.Error // also context.DeadlineExceeded
	var response interface{ HTTPStatusCode() int }
	var exception smithy.APIError
	return errors.As(err, &network) ||
		errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusInternalServerError ||
		errors.As(err, &exception) && exception.ErrorFault() == smithy.FaultServer
}
