package record

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// Print prints the tables and the RESULT line, for a terminal. Verdicts follow
// the table they belong to.
func (r *Run) Print(w io.Writer) {
	fmt.Fprintf(w, "%s\n%s, %s, %s, %s\n", r.Title, r.Date, r.Machine, r.Go, r.Server)
	for _, t := range r.Tables {
		fmt.Fprintf(w, "\n%s\n", t.Title)
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(tw, strings.Join(t.Columns, "\t")+"\t")
		wide := 0
		for _, row := range t.Rows {
			fmt.Fprintln(tw, strings.Join(append([]string{row.Name}, row.Cells...), "\t")+"\t")
			wide = max(wide, utf8.RuneCountInString(row.Name))
		}
		_ = tw.Flush() // as little to be done about it as with Fprintf
		for _, row := range t.Rows {
			if row.Verdict != "" {
				fmt.Fprintf(w, "  %-*s  %s\n", wide, row.Name, row.Verdict)
			}
		}
	}
	fmt.Fprintf(w, "\n%s\n", r.ResultLine())
}
