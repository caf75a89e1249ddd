program task
  implicit none
  character(len=100) :: text, first, second
  integer :: status, lines
  call get_command_argument(1, first)
  call get_command_argument(2, second)
  open (10, file='in.txt', status='old')
  read (10, '(a)') text
  close (10)
  open (11, file='out.txt', status='replace')
  write (11, '(a, a, a)') trim(text), ' ', trim(first)
  close (11)
  print '(a, a, a, a)', 'args ', trim(first), '|', trim(second)
  lines = 0
  do
    read (*, '(a)', iostat=status) text
    if (status /= 0) exit
    lines = lines + 1
  end do
  print '(a, i0)', 'stdin ', lines
  call exit(3)
end program task
