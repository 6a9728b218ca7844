package main

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	chartWidth  = 760 * vg.Length(1)
	chartHeight = 420 * vg.Length(1)
	headHeight  = 34 // for the title
	margin      = 14
	textSize    = 12
)

// A chart has either lines or panels of bars.
type chart struct {
	file, title string
	x, y        string // what the axes show
	bytes       bool   // x is a number of bytes, logarithmic
	logY        bool
	lines       []line
	panels      []panel
}

type line struct {
	name   string
	points plotter.XYs
}

// A panel has groups of bars: kinds[k].values[g] is kind k in group g.
type panel struct {
	title  string
	groups []string
	kinds  []barKind
}

type barKind struct {
	name   string
	values plotter.Values
}

func (c *chart) point(name string, x, y float64) {
	i := slices.IndexFunc(c.lines, func(l line) bool { return l.name == name })
	if i < 0 {
		i = len(c.lines)
		c.lines = append(c.lines, line{name: name})
	}
	c.lines[i].points = append(c.lines[i].points, plotter.XY{X: x, Y: y})
}

// bar adds a bar of kind k to the latest group.
func (p *panel) bar(k int, name string, value float64) {
	if k == len(p.kinds) {
		p.kinds = append(p.kinds, barKind{name: name})
	}
	p.kinds[k].values = append(p.kinds[k].values, value)
}

// Each contestant has one colour in all charts; a dashed line is its signed
// messages, or the cryptography alone.
func look(name string) (c color.Color, dashed bool) {
	dashed = strings.Contains(name, "signed") || strings.Contains(name, "alone")
	for _, of := range []struct {
		prefix string
		color  color.RGBA
	}{
		{"cryptography", color.RGBA{0x9a, 0xa1, 0xa9, 0xff}},
		{"esdk, one core", color.RGBA{0x6c, 0xa6, 0xee, 0xff}},
		{"esdk 0478, stream", color.RGBA{0x6c, 0xa6, 0xee, 0xff}},
		{"esdk, from the start", color.RGBA{0x6c, 0xa6, 0xee, 0xff}},
		{"esdk, warm cache", color.RGBA{0x6c, 0xa6, 0xee, 0xff}},
		{"esdk, one-shot", color.RGBA{0x6c, 0xa6, 0xee, 0xff}},
		{"esdk", color.RGBA{0x14, 0x5d, 0xbf, 0xff}},
		{"decrypt, HedgeAfter", color.RGBA{0x14, 0x5d, 0xbf, 0xff}},
		{"decrypt, Timeout", color.RGBA{0xd9, 0x6c, 0x06, 0xff}},
		{"encrypt, Quorum", color.RGBA{0x2f, 0x8f, 0x4e, 0xff}},
		{"AWS", color.RGBA{0xd9, 0x6c, 0x06, 0xff}},
		{"sio", color.RGBA{0x2f, 0x8f, 0x4e, 0xff}},
		{"tink", color.RGBA{0x8e, 0x44, 0xad, 0xff}},
		{"chainifynet", color.RGBA{0x2f, 0x8f, 0x4e, 0xff}},
		{"Python", color.RGBA{0xb0, 0x30, 0x52, 0xff}},
		{"age", color.RGBA{0xb0, 0x30, 0x52, 0xff}},
	} {
		if strings.HasPrefix(name, of.prefix) {
			return of.color, dashed
		}
	}
	return color.Black, dashed
}

var (
	ink   = color.Gray{0x2b}
	faint = color.Gray{0xe2}
)

func style(size vg.Length) text.Style {
	return text.Style{
		Color:   ink,
		Font:    font.Font{Typeface: "Liberation", Variant: "Sans", Size: size},
		Handler: plot.DefaultTextHandler,
	}
}

// save writes the chart as SVG.
func (c chart) save(file string) error {
	canvas := vgsvg.New(chartWidth, chartHeight)
	whole := draw.New(canvas)
	whole.SetColor(color.White)
	whole.Fill(whole.Rectangle.Path())
	title := style(15)
	title.Font.Weight = 2 // bold
	whole.FillText(title, vg.Point{X: margin, Y: chartHeight - 24}, c.title)
	area := draw.Crop(whole, margin, -margin, margin, -headHeight)
	if len(c.panels) > 0 {
		if err := c.drawPanels(area); err != nil {
			return err
		}
	} else if err := c.drawLines(area); err != nil {
		return err
	}
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return err
	}
	// Fonts of the same measures, for who has not got Liberation.
	svg := bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;"))
	return os.WriteFile(file, svg, 0o666)
}

// axes returns an empty plot with a quiet look.
func (c chart) axes() *plot.Plot {
	p := plot.New()
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle, a.Tick.Label = style(textSize), style(textSize-1)
		a.Label.Padding = 6
		a.LineStyle.Width, a.Tick.LineStyle.Width, a.Tick.Length, a.Padding = 0, 0, 5, 7
	}
	p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = text.XCenter, text.YTop
	p.Y.Tick.Label.XAlign, p.Y.Tick.Label.YAlign = text.XRight, text.YCenter
	p.X.Label.TextStyle.XAlign, p.X.Label.TextStyle.YAlign = text.XCenter, text.YBottom
	p.Y.Label.TextStyle.XAlign, p.Y.Label.TextStyle.YAlign = text.XCenter, text.YBottom
	p.X.Label.Text, p.Y.Label.Text = c.x, c.y
	p.Y.Tick.Marker = steps{}
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = faint
	p.Add(grid)
	return p
}

func (c chart) drawLines(area draw.Canvas) error {
	p := c.axes()
	ends := labels{}
	for _, l := range c.lines {
		colour, dashed := look(l.name)
		curve, dots, err := plotter.NewLinePoints(l.points)
		if err != nil {
			return err
		}
		curve.Color, curve.Width = colour, 2
		if dashed {
			curve.Dashes = []vg.Length{6, 4}
		}
		dots.Color, dots.Shape, dots.Radius = colour, draw.CircleGlyph{}, 3
		if len(l.points) == 1 {
			dots.Radius = 4.5
		}
		p.Add(curve, dots)
		s := style(textSize)
		s.Color = colour
		ends.lines, ends.styles = append(ends.lines, l), append(ends.styles, s)
	}
	if c.bytes {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, byteTicks(c.lines)
	} else {
		p.X.Tick.Marker = steps{}
	}
	if c.logY {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
		p.Y.Min = math.Pow(10, math.Floor(math.Log10(p.Y.Min)))
		p.Y.Max = math.Pow(10, math.Ceil(math.Log10(p.Y.Max)))
	} else {
		p.Y.Min, p.Y.Max = 0, p.Y.Max*1.08
	}
	p.Add(ends)
	var widest vg.Length
	for i, l := range ends.lines {
		if len(l.points) > 1 {
			widest = max(widest, ends.styles[i].Width(l.name))
		}
	}
	p.Draw(draw.Crop(area, 0, -widest-12, 0, 0))
	return nil
}

// labels writes each line's name at its end, in its colour, and none over
// another; a single point has its name beside it.
type labels struct {
	lines  []line
	styles []text.Style
}

func (l labels) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	type label struct {
		at vg.Length
		i  int
	}
	var ends []label
	for i, line := range l.lines {
		last := line.points[len(line.points)-1]
		if len(line.points) == 1 {
			s := l.styles[i]
			s.YAlign = text.YCenter
			c.FillText(s, vg.Point{X: x(last.X) + 9, Y: y(last.Y)}, line.name)
			continue
		}
		ends = append(ends, label{y(last.Y), i})
	}
	slices.SortFunc(ends, func(a, b label) int { return int(math.Copysign(1, float64(a.at-b.at))) })
	const apart = textSize + 3
	for range 50 { // push neighbours apart, both the same way
		for i := 1; i < len(ends); i++ {
			if over := apart - (ends[i].at - ends[i-1].at); over > 0 {
				ends[i].at += over / 2
				ends[i-1].at -= over / 2
			}
		}
	}
	for _, e := range ends {
		s := l.styles[e.i]
		s.YAlign = text.YCenter
		c.FillText(s, vg.Point{X: c.Max.X + 9, Y: e.at}, l.lines[e.i].name)
	}
}

func (c chart) drawPanels(area draw.Canvas) error {
	c.legend(area)
	plots := make([]*plot.Plot, len(c.panels))
	for i, panel := range c.panels {
		p := c.axes()
		p.Title.Text, p.Title.TextStyle, p.Title.Padding = panel.title, style(textSize), 6
		p.Title.TextStyle.XAlign, p.Title.TextStyle.YAlign = text.XCenter, text.YTop
		if i > 0 {
			p.Y.Label.Text = ""
		}
		width := min(30, 235/vg.Length(len(panel.groups)*len(panel.kinds)))
		for k, kind := range panel.kinds {
			bars, err := plotter.NewBarChart(kind.values, width)
			if err != nil {
				return err
			}
			bars.Color, _ = look(kind.name)
			bars.LineStyle.Width = 0
			bars.Offset = (width + 1) * (vg.Length(k) - vg.Length(len(panel.kinds)-1)/2)
			p.Add(bars, values{kind.values, bars.Offset})
		}
		p.NominalX(panel.groups...)
		p.X.Tick.Label = style(textSize - 1)
		p.X.Tick.Label.XAlign, p.X.Tick.Label.YAlign = text.XCenter, text.YTop
		p.X.Min, p.X.Max = -0.5, float64(len(panel.groups))-0.5
		p.Y.Min, p.Y.Max = 0, p.Y.Max*1.1
		plots[i] = p
	}
	tiles := draw.Tiles{Rows: 1, Cols: len(plots), PadX: 18}
	for i, canvas := range plot.Align([][]*plot.Plot{plots}, tiles, draw.Crop(area, 0, 0, 0, -24))[0] {
		plots[i].Draw(canvas)
	}
	return nil
}

// legend draws the kinds of bars in a row above the panels.
func (c chart) legend(area draw.Canvas) {
	at := vg.Point{X: area.Min.X, Y: area.Max.Y - textSize}
	s := style(textSize)
	for _, kind := range c.panels[0].kinds {
		colour, _ := look(kind.name)
		area.FillPolygon(colour, []vg.Point{at, {X: at.X + 11, Y: at.Y}, {X: at.X + 11, Y: at.Y + 11}, {X: at.X, Y: at.Y + 11}})
		at.X += 16
		area.FillText(s, vg.Point{X: at.X, Y: at.Y + 1}, kind.name)
		at.X += s.Width(kind.name) + 30
	}
}

// values writes its value over each bar.
type values struct {
	of     plotter.Values
	offset vg.Length
}

func (v values) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	s := style(textSize - 3)
	s.XAlign = text.XCenter
	for i, value := range v.of {
		c.FillText(s, vg.Point{X: x(float64(i)) + v.offset, Y: y(value) + 3}, short(value))
	}
}

// short is a value that fits over a bar.
func short(v float64) string {
	switch {
	case v >= 10:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	default:
		return strings.TrimPrefix(fmt.Sprintf("%.2f", v), "0")
	}
}

// byteTicks puts a tick where there is a point.
type byteTicks []line

func (t byteTicks) Ticks(_, _ float64) []plot.Tick {
	var ticks []plot.Tick
	for _, l := range t {
		for _, point := range l.points {
			tick := plot.Tick{Value: point.X, Label: length(int(point.X))}
			if !slices.Contains(ticks, tick) {
				ticks = append(ticks, tick)
			}
		}
	}
	return ticks
}

// steps puts four to eight ticks at multiples of a round number.
type steps struct{}

func (steps) Ticks(low, high float64) []plot.Tick {
	power := math.Pow(10, math.Floor(math.Log10(high))-1)
	var ticks []plot.Tick
	for _, round := range []float64{2, 5, 10, 20} {
		if n := int(high / (round * power)); n <= 8 {
			for i := range n + 1 {
				v := float64(i) * round * power
				ticks = append(ticks, plot.Tick{Value: v, Label: thousands(v)})
			}
			break
		}
	}
	return ticks
}

func thousands(v float64) string {
	if v >= 1000 {
		return thousands(float64(int(v)/1000)) + fmt.Sprintf(",%03d", int(v)%1000)
	}
	return fmt.Sprintf("%.3g", v)
}

// decades puts a tick at each power of ten.
type decades struct{}

func (decades) Ticks(low, high float64) []plot.Tick {
	var ticks []plot.Tick
	for v := math.Pow(10, math.Floor(math.Log10(low))); v <= high*1.001; v *= 10 {
		ticks = append(ticks, plot.Tick{Value: v, Label: thousands(v)})
	}
	return ticks
}
