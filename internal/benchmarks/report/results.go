package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// results are what the parts found.
type results struct {
	tables []*table
	bars   []*bar
	charts []chart
}

// A table is a title, what it shows, and cells, the first row its head.
type table struct {
	title, note string
	rows        [][]string
}

func (r *results) table(title, note string, head ...string) *table {
	t := &table{title: title, note: note, rows: [][]string{head}}
	r.tables = append(r.tables, t)
	return t
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// write writes t in Markdown that can be read as it is, too.
func (t *table) write(w io.Writer) {
	fmt.Fprintf(w, "### %s\n\n", t.title)
	if t.note != "" {
		fmt.Fprintf(w, "%s\n\n", t.note)
	}
	width := make([]int, len(t.rows[0]))
	for _, row := range t.rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell), 3)
		}
	}
	line := func(row []string) {
		for i, n := range width {
			cell := ""
			if i < len(row) {
				cell = row[i]
			}
			fmt.Fprintf(w, "| %s%s ", cell, strings.Repeat(" ", n-utf8.RuneCountInString(cell)))
		}
		fmt.Fprintln(w, "|")
	}
	line(t.rows[0])
	for i, n := range width {
		right := ":"
		if i == 0 {
			right = "-"
		}
		fmt.Fprintf(w, "|%s%s", strings.Repeat("-", n+1), right)
	}
	fmt.Fprintln(w, "|")
	for _, row := range t.rows[1:] {
		line(row)
	}
	fmt.Fprintln(w)
}

// A bar is what the project set itself, and how near each case of it came.
type bar struct {
	text   string
	limit  float64
	atMost bool // limit is the most; else it is the least
	cases  []barCase
}

type barCase struct {
	name string
	stat stat
}

// atLeast and atMost note a case of the bar with that text.
func (r *results) atLeast(text string, limit float64, name string, s stat) {
	r.bar(bar{text: text, limit: limit}, barCase{name, s})
}

func (r *results) atMost(text string, limit float64, name string, s stat) {
	r.bar(bar{text: text, limit: limit, atMost: true}, barCase{name, s})
}

func (r *results) bar(like bar, c barCase) {
	for _, b := range r.bars {
		if b.text == like.text {
			b.cases = append(b.cases, c)
			return
		}
	}
	like.cases = []barCase{c}
	r.bars = append(r.bars, &like)
}

// short is by how much of the limit the case misses it: 0 or less if it does not.
func (b *bar) short(c barCase) float64 {
	if b.atMost {
		return c.stat.median/b.limit - 1
	}
	return 1 - c.stat.median/b.limit
}

// writeBars says for each bar whether it is met, and where not by how far not.
func (r *results) writeBars(w io.Writer) {
	t := &table{title: "Bars", rows: [][]string{{"bar", "limit", "met", "hardest case"}}}
	var misses []string
	for _, b := range r.bars {
		met, worst := 0, b.cases[0]
		for _, c := range b.cases {
			if b.short(c) > b.short(worst) {
				worst = c
			}
			if by := b.short(c); by > 0 {
				misses = append(misses, fmt.Sprintf("- %s: %s is %s, %.1f %% off %g", b.text, c.name, c.stat.spread(), 100*by, b.limit))
			} else {
				met++
			}
		}
		limit := fmt.Sprintf("≥ %g", b.limit)
		if b.atMost {
			limit = fmt.Sprintf("≤ %g", b.limit)
		}
		verdict := "yes"
		if met < len(b.cases) {
			verdict = fmt.Sprintf("%d of %d", met, len(b.cases))
		}
		t.add(b.text, limit, verdict, worst.name+": "+worst.stat.spread())
	}
	t.write(w)
	if len(misses) > 0 {
		fmt.Fprintf(w, "Not met:\n\n%s\n\n", strings.Join(misses, "\n"))
	}
}

func digits(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}

func (s stat) number() string { return digits(s.median) }

func (s stat) spread() string {
	return fmt.Sprintf("%s (%s–%s)", digits(s.median), digits(s.low), digits(s.high))
}

// length names a number of bytes.
func length(n int) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%d KiB", n>>10)
	default:
		return fmt.Sprintf("%d B", n)
	}
}
