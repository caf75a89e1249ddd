name <- commandArgs(trailingOnly = TRUE)[1]
cat("hello", name, paste0(length(c(1, 2)), "\n"))
