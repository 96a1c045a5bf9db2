# Draws loss_error.svg and loss_time.svg from the .dat beside it:  cd docs/figures && gnuplot losses.gp
set datafile missing '?'
set terminal svg size 720,420 font 'sans,14' background 'white'
set logscale xy
set format x '10^{%T}'
set format y '10^{%T}'
set grid
set key outside right

set output 'loss_error.svg'
set title 'Gradient of batch and class level, 64 × 100, T = 4'
set xlabel 'teacher–student distance in the logits'
set ylabel 'relative error'
set yrange [1e-8:100]
plot 'loss_error.dat' using 1:2 with linespoints title 'direct, float32', \
     '' using 1:3 with linespoints title 'direct, TF32', \
     '' using 1:4 with linespoints title 'direct, bf16', \
     '' using 1:5 with linespoints lw 2 title 'ours, float32', \
     '' using 1:6 with linespoints lw 2 title 'ours, TF32', \
     '' using 1:7 with linespoints lw 2 title 'ours, bf16'

set output 'loss_time.svg'
set title 'mlkd\_official forward and backward, batch 64, 2 threads'
set xlabel 'classes'
set ylabel 'milliseconds'
set yrange [0.1:10000]
plot 'loss_time.dat' using 1:2 with linespoints lw 2 title 'mlkd', \
     '' using 1:3 with linespoints title 'PyTorch 1.13, as released'
