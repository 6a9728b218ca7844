// Exchange makes messages for the other SDKs and judges what they made of them
// and what they wrote; ../README.md has the whole round.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "exchange:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "cases":
		return makeCases(ctx, args[1])
	case len(args) > 1 && args[0] == "kms":
		return serveKMS(ctx, args[1:])
	case len(args) == 3 && args[0] == "check":
		return checkPeer(ctx, args[1], args[2])
	case len(args) == 3 && args[0] == "report":
		return report(args[1], args[2])
	case len(args) == 3 && args[0] == "store":
		return store(args[1], args[2])
	case len(args) == 4 && args[0] == "mutate":
		return mutants(args[1], args[2], args[3])
	case len(args) == 5 && args[0] == "differences":
		return differences(ctx, args[1], args[2], args[3], args[4])
	}
	return errors.New("usage: exchange cases FILE | kms COMMAND... | check WORK PEER | report WORK FILE | store WORK FOLDER | mutate SEED COUNT FILE | differences FILE RESULTS TITLE REPORT")
}

// makeCases writes all cases with esdk's messages to the file.
func makeCases(ctx context.Context, name string) error {
	keys, err := loadKeys()
	if err != nil {
		return err
	}
	var all []Case
	all = append(all, framingCases(keys)...)
	all = append(all, keyCases(keys)...)
	all = append(all, contextCases(keys)...)
	all = append(all, ecdhCases(keys)...)
	onKMS, err := kmsCases(ctx, keys)
	if err != nil {
		return err
	}
	all = append(all, onKMS...)
	all = append(all, multiRegionCases()...)
	asymmetric, err := asymmetricCases(ctx, keys)
	if err != nil {
		return err
	}
	all = append(all, asymmetric...)
	hierarchical, err := hierarchyCases(ctx, keys)
	if err != nil {
		return err
	}
	all = append(all, hierarchical...)
	for i := range all {
		if err := all[i].encrypt(ctx); err != nil {
			return fmt.Errorf("%s: %w", all[i].ID, err)
		}
	}
	if err := rotate(ctx, all); err != nil {
		return err
	}
	altered, err := alteredCases(keys, func(c *Case) error { return c.encrypt(ctx) })
	if err != nil {
		return err
	}
	return writeLines(name, append(all, altered...))
}

func writeLines[T any](name string, all []T) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	e := json.NewEncoder(w)
	for i := range all {
		if err := e.Encode(&all[i]); err != nil {
			return err
		}
	}
	return errors.Join(w.Flush(), f.Close())
}

func readLines[T any](name string) ([]T, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []T
	for d := json.NewDecoder(bufio.NewReader(f)); d.More(); {
		var v T
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", name, len(all)+1, err)
		}
		all = append(all, v)
	}
	return all, nil
}
