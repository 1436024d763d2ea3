package conformance

import "strings"

// diff returns a line diff of two expectations: two lines of context and the
// title of the probe.
func diff(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	n, m := len(a), len(b)
	lcs := make([][]int, n+1)
	for i := range lcs {
		lcs[i] = make([]int, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if a[i] == b[j] {
				lcs[i][j] = lcs[i+1][j+1] + 1
			} else {
				lcs[i][j] = max(lcs[i+1][j], lcs[i][j+1])
			}
		}
	}
	var lines []string
	i, j := 0, 0
	for i < n || j < m {
		switch {
		case i < n && j < m && a[i] == b[j]:
			lines = append(lines, " "+a[i])
			i, j = i+1, j+1
		case j == m || i < n && lcs[i+1][j] >= lcs[i][j+1]:
			lines = append(lines, "-"+a[i])
			i++
		default:
			lines = append(lines, "+"+b[j])
			j++
		}
	}
	const context = 2
	keep := make([]bool, len(lines))
	for i, l := range lines {
		if l[0] == ' ' {
			continue
		}
		for k := max(0, i-context); k <= min(len(lines)-1, i+context); k++ {
			keep[k] = true
		}
		for k := i; k >= 0; k-- { // the probe that the change belongs to
			if strings.HasPrefix(lines[k][1:], "probe ") {
				keep[k] = true
				break
			}
		}
	}
	var out strings.Builder
	out.WriteString("--- expected\n+++ seen\n")
	for i, l := range lines {
		if keep[i] {
			if i > 0 && !keep[i-1] {
				out.WriteString(" ...\n")
			}
			out.WriteString(l + "\n")
		}
	}
	return out.String()
}
