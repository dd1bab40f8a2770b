package report

import (
	"bytes"
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/fleetcache/fleetcache/bench/internal/record"
)

// The size of a plot, and of what is around the curves. Where neither of the
// fonts that widths are computed with is there, the one that takes their place
// may be wider by a fifth.
const (
	plotWide  vg.Length = 640
	plotTall  vg.Length = 340
	edge      vg.Length = 10
	titleRoom vg.Length = 28
	legendGap vg.Length = 16
	wider               = 1.2
)

// palette is told apart by those who do not see all colours (Okabe and Ito),
// and each of them goes with a shape. The white card below makes it readable in
// dark mode, too.
var (
	palette = []color.Color{
		color.RGBA{0x00, 0x72, 0xB2, 0xff}, color.RGBA{0xD5, 0x5E, 0x00, 0xff},
		color.RGBA{0x00, 0x9E, 0x73, 0xff}, color.RGBA{0xCC, 0x79, 0xA7, 0xff},
		color.RGBA{0xE6, 0x9F, 0x00, 0xff}, color.RGBA{0x33, 0x33, 0x33, 0xff},
		color.RGBA{0x56, 0xB4, 0xE9, 0xff},
	}
	shapes = []draw.GlyphDrawer{
		draw.CircleGlyph{}, draw.BoxGlyph{}, draw.TriangleGlyph{}, draw.PyramidGlyph{},
		draw.RingGlyph{}, draw.SquareGlyph{}, draw.CrossGlyph{},
	}
	ink   = color.RGBA{0x33, 0x33, 0x33, 0xff}
	faint = color.RGBA{0xdd, 0xdd, 0xdd, 0xff}
)

// Draw draws the curves as SVG. What a logarithmic axis cannot show is left
// out, with a note.
func Draw(w io.Writer, p record.Plot) (notes []string, err error) {
	series, notes, err := points(p)
	if err != nil {
		return nil, err
	}
	pl := plot.New()
	style(pl, p)
	lines, room, err := curves(pl, series)
	if err != nil {
		return nil, err
	}
	scale(&pl.X, p.LogX, values(series, func(s curve) []float64 { return s.x }), true)
	scale(&pl.Y, p.LogY, values(series, func(s curve) []float64 { return s.all() }), false)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = faint, faint
	grid.Vertical.Width, grid.Horizontal.Width = 0.5, 0.5
	pl.Add(grid)
	pl.Add(lines...) // above the grid
	return notes, write(w, pl, room)
}

// write draws the plot with the legend beside it, where it hides nothing.
func write(w io.Writer, pl *plot.Plot, room vg.Length) error {
	legend := pl.Legend
	pl.Legend = plot.NewLegend()
	c := vgsvg.New(plotWide, plotTall)
	dc := draw.New(c)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	inner := draw.Crop(dc, edge, -edge, edge, -edge)
	pl.BackgroundColor = nil
	pl.Draw(draw.Crop(inner, 0, -room, 0, 0))
	beside := inner
	beside.Min.X = inner.Max.X - room + legendGap
	legend.Draw(draw.Crop(beside, 0, 0, 0, -titleRoom))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return err
	}
	// Few have the font that widths are computed with; Arial has the same.
	svg := bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:'Liberation Sans',Arial,Helvetica,sans-serif;"))
	_, err := w.Write(svg)
	return err
}

// style sets fonts, labels and colours.
func style(pl *plot.Plot, p record.Plot) {
	pl.Title.Text, pl.X.Label.Text, pl.Y.Label.Text = p.Title, p.X, p.Y
	pl.Title.Padding = 10
	for _, t := range []struct {
		font *font.Font
		size vg.Length
	}{
		{&pl.Title.TextStyle.Font, 13}, {&pl.X.Label.TextStyle.Font, 11}, {&pl.Y.Label.TextStyle.Font, 11},
		{&pl.X.Tick.Label.Font, 10}, {&pl.Y.Tick.Label.Font, 10}, {&pl.Legend.TextStyle.Font, 10},
	} {
		t.font.Typeface, t.font.Variant, t.font.Size = "Liberation", "Sans", t.size
	}
	for _, c := range []*color.Color{
		&pl.Title.TextStyle.Color, &pl.X.Label.TextStyle.Color, &pl.Y.Label.TextStyle.Color,
		&pl.X.Tick.Label.Color, &pl.Y.Tick.Label.Color, &pl.Legend.TextStyle.Color, &pl.X.Color, &pl.Y.Color,
	} {
		*c = ink
	}
	pl.Legend.Top, pl.Legend.Left = true, true
	pl.Legend.YPosition = draw.PosCenter
	pl.Legend.Padding = 6
	pl.Legend.ThumbnailWidth = 22
}

// curves makes what is drawn of each series and enters it into the legend. room
// is how wide the legend is.
func curves(pl *plot.Plot, series []curve) (all []plot.Plotter, room vg.Length, err error) {
	for i, s := range series {
		col, shape := palette[i%len(palette)], shapes[i%len(shapes)]
		line, dots, err := plotter.NewLinePoints(s)
		if err != nil {
			return nil, 0, err
		}
		line.Color, line.Width = col, 1.6
		if i >= len(palette) { // colours begin anew
			line.Dashes = []vg.Length{5, 3}
		}
		dots.Color, dots.Shape, dots.Radius = col, shape, 3
		all = append(all, line)
		if s.low != nil {
			bars, err := plotter.NewYErrorBars(s)
			if err != nil {
				return nil, 0, err
			}
			bars.Color, bars.Width, bars.CapWidth = col, 0.9, 6
			all = append(all, bars)
		}
		all = append(all, dots)
		if len(series) == 1 {
			return all, 0, nil // the title says what it is
		}
		pl.Legend.Add(s.name, line, dots)
		room = max(room, pl.Legend.TextStyle.Width(s.name))
	}
	return all, room*wider + pl.Legend.ThumbnailWidth + pl.Legend.Padding + legendGap, nil
}

// A curve is a series as far as it can be shown.
type curve struct {
	name      string
	x, y      []float64
	low, high []float64 // both nil if there are no bars
}

func (c curve) Len() int                    { return len(c.x) }
func (c curve) XY(i int) (x, y float64)     { return c.x[i], c.y[i] }
func (c curve) YError(i int) (_, _ float64) { return c.y[i] - c.low[i], c.high[i] - c.y[i] }
func (c curve) all() []float64 {
	return append(append(append([]float64{}, c.y...), c.low...), c.high...)
}

// points returns what can be shown of the series of a plot.
func points(p record.Plot) (out []curve, notes []string, err error) {
	for _, s := range p.Series {
		n, bars := len(s.X), len(s.Low) > 0 || len(s.High) > 0
		if len(s.Y) != n || bars && (len(s.Low) != n || len(s.High) != n) {
			return nil, nil, fmt.Errorf("series %q: %d, %d, %d and %d values of X, Y, Low and High", s.Name, n, len(s.Y), len(s.Low), len(s.High))
		}
		c, hidden := curve{name: s.Name}, 0
		for i, x := range s.X {
			y, low, high := s.Y[i], s.Y[i], s.Y[i]
			if bars {
				low, high = s.Low[i], s.High[i]
			}
			if !(low <= y && y <= high) || math.IsInf(high-low, 0) || math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, nil, fmt.Errorf("series %q: %v at %v is not between %v and %v", s.Name, y, x, low, high)
			}
			if p.LogX && x <= 0 || p.LogY && y <= 0 {
				hidden++
				continue
			}
			if p.LogY && low <= 0 {
				low = y // a bar down to zero has no end
			}
			c.x, c.y = append(c.x, x), append(c.y, y)
			if bars {
				c.low, c.high = append(c.low, low), append(c.high, high)
			}
		}
		if hidden > 0 {
			notes = append(notes, fmt.Sprintf("%d points of %q are not positive, and not on a logarithmic axis", hidden, s.Name))
		}
		if len(c.x) > 0 {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, nil, errors.New("it has no points")
	}
	return out, notes, nil
}

func values(series []curve, of func(curve) []float64) (all []float64) {
	for _, s := range series {
		all = append(all, of(s)...)
	}
	return all
}
