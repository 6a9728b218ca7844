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
	"slices"
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
	case len(args) == 2 && args[0] == "oldcases":
		return makeOldCases(ctx, args[1])
	case len(args) > 1 && args[0] == "kms":
		return serveKMS(ctx, args[1:])
	case len(args) == 3 && args[0] == "check":
		return checkPeer(ctx, args[1], args[2])
	case len(args) == 3 && args[0] == "report":
		return report(args[1], args[2])
	case len(args) == 3 && args[0] == "store":
		return store(ctx, args[1], args[2])
	case len(args) == 4 && args[0] == "mutate":
		return mutants(args[1], args[2], args[3])
	case len(args) == 5 && args[0] == "differences":
		return differences(ctx, args[1], args[2], args[3], args[4])
	}
	return errors.New("usage: exchange cases FILE | oldcases FILE | kms COMMAND... | check WORK PEER | report WORK FILE | store WORK FOLDER | mutate SEED COUNT FILE | differences FILE RESULTS TITLE REPORT")
}

// makeCases writes all cases with esdk's messages to the file.
func makeCases(ctx context.Context, name string) error {
	keys, err := loadKeys()
	if err != nil {
		return err
	}
	var all []Case
	all = append(all, framingCases(keys, "ASCII")...)
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
	return finishCases(ctx, name, keys, all, "ASCII")
}

// makeOldCases writes the cases for old versions: those with raw AES and RSA keys.
// Where the encryption context is not what matters, every version sorts it alike.
func makeOldCases(ctx context.Context, name string) error {
	keys, err := loadKeys()
	if err != nil {
		return err
	}
	return finishCases(ctx, name, keys, slices.Concat(framingCases(keys, "lower case"), keyCases(keys), contextCases(keys)), "lower case")
}

// finishCases gives the cases esdk's messages and writes them to the file, with cases
// of altered ones, whose context has the name.
func finishCases(ctx context.Context, name string, keys rawKeys, all []Case, context string) error {
	for i := range all {
		if err := all[i].encrypt(ctx); err != nil {
			return fmt.Errorf("%s: %w", all[i].ID, err)
		}
	}
	if err := rotate(ctx, all); err != nil {
		return err
	}
	altered, err := alteredCases(keys, context, func(c *Case) error { return c.encrypt(ctx) })
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
