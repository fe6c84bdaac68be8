# A principal curve by princurve (Hastie and Stuetzle), the peers' side of the comparison at equal length.
#
#     apt-get install r-base-core r-cran-princurve    # R 4.2, princurve 2.1.6
#     Rscript princurve.R POINTS.csv OUT.csv
#
# POINTS.csv holds a point a line, coordinates separated by commas, no header. OUT.csv gets the vertices of the curve in
# the same form, from one end to the other: the package returns the points projected to the curve, in order, and no
# others. Prints one JSON object. `seconds` is wall time of the second of two equal calls, `cpu_seconds` its processor
# time, `first_seconds` wall time of the first. `converged` says whether the iterations settled within the default ten.
# One core, if R's BLAS keeps to one: OPENBLAS_NUM_THREADS=1 where it is OpenBLAS.

suppressPackageStartupMessages(library(princurve))

arguments <- commandArgs(trailingOnly = TRUE)
points <- unname(as.matrix(read.csv(arguments[1], header = FALSE)))
times <- lapply(1:2, function(call) {
  system.time(fit <<- principal_curve(points, smoother = "smooth_spline"))
})
vertices <- apply(fit$s[fit$ord, ], 2, formatC, digits = 17, format = "g", width = 1)
write.table(vertices, arguments[2], sep = ",", quote = FALSE, row.names = FALSE, col.names = FALSE)
cat(sprintf(
  paste(
    '{"peer": "princurve", "version": "%s", "seconds": %.3f, "cpu_seconds": %.3f,',
    '"first_seconds": %.3f, "nodes": %d, "converged": %s}\n'
  ),
  packageVersion("princurve"), times[[2]][["elapsed"]], sum(times[[2]][1:2]), times[[1]][["elapsed"]],
  nrow(vertices), tolower(fit$converged)
))
